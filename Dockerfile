# The server's image: the `ingot` program, CA certificates, and a user that is not root.
#
#   docker build --tag ingot --build-arg GIT_SHA="$(git rev-parse HEAD)" .
#
# It needs BuildKit (Docker 20.10 or later) and 10 GB of memory, 8 of them for AWS's EC2 library. There is no `# syntax=`
# line: that would fetch a newer front end from a registry, and the engine's own knows all that is used here.
# deploy/docker/README.md tells how to build where no registry or only a TLS-inspecting proxy is reached.

ARG BUILD_IMAGE=rust:1.95-bookworm
# The same Debian release, for the program is linked with its libc.
ARG RUNTIME_IMAGE=debian:bookworm-slim


# Dependencies alone, with an empty program: they are minutes of compiling and change rarely, so they get a layer that
# stays valid until Cargo.toml or Cargo.lock changes, also when layers are kept in a registry (a cache mount is not).
FROM ${BUILD_IMAGE} AS dependencies
WORKDIR /src
# Line tables and symbols would be most of the program's size.
ENV SQLX_OFFLINE=true \
    CARGO_INCREMENTAL=0 \
    CARGO_PROFILE_RELEASE_DEBUG=false \
    CARGO_PROFILE_RELEASE_STRIP=symbols
COPY Cargo.toml Cargo.lock ./
# The cache mount only saves downloads: when it was emptied, cargo fetches again. The secret is optional, a file with the
# CA certificates to trust for downloads, and stays out of the image.
RUN --mount=type=cache,id=ingot-cargo-registry,target=/usr/local/cargo/registry \
    --mount=type=secret,id=ca-certificates \
    if [ -s /run/secrets/ca-certificates ]; then export CARGO_HTTP_CAINFO=/run/secrets/ca-certificates; fi && \
    mkdir src && echo 'fn main() {}' >src/main.rs && : >src/lib.rs && \
    cargo build --release --locked --bin ingot && \
    rm -r src


FROM dependencies AS build
COPY .sqlx .sqlx
COPY migrations migrations
COPY src src
# COPY keeps the files' times, which are older than the empty program's: without `touch`, cargo would take that one for
# up to date.
RUN --mount=type=cache,id=ingot-cargo-registry,target=/usr/local/cargo/registry \
    --mount=type=secret,id=ca-certificates \
    if [ -s /run/secrets/ca-certificates ]; then export CARGO_HTTP_CAINFO=/run/secrets/ca-certificates; fi && \
    touch src/main.rs src/lib.rs && \
    cargo build --release --locked --bin ingot && \
    mkdir --parents --mode=0700 /data/ingot


# Only COPY below: nothing is run or installed in the runtime image, so any image with glibc and libgcc will do, one without
# a shell as well.
FROM ${RUNTIME_IMAGE}
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/target/release/ingot /usr/bin/
# There is no VOLUME: it would leave a nameless volume with a secret key behind each container that was run without one.
# A named volume takes this folder's owner and mode when it is first used.
COPY --from=build --chown=65532:65532 /data/ /var/lib/
WORKDIR /var/lib/ingot
# All interfaces: a container has its own, and what is published is said when it is run. HOME for ~/.aws.
ENV INGOT__SERVER__LISTEN=0.0.0.0:8080 \
    INGOT__DATA_DIR=/var/lib/ingot \
    HOME=/var/lib/ingot
EXPOSE 8080
# As numbers, which Kubernetes needs for runAsNonRoot; the user needs no entry in /etc/passwd.
USER 65532:65532
STOPSIGNAL SIGTERM
# There is no HEALTHCHECK: it would need an HTTP client in the image, and orchestrators ask /healthz and /readyz
# themselves.
ENTRYPOINT ["ingot"]
CMD ["serve"]

# Last, because they differ each time.
ARG GIT_SHA
ARG VERSION
LABEL org.opencontainers.image.title="Ingot" \
      org.opencontainers.image.description="A server that turns Packer templates into golden machine images" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${GIT_SHA}" \
      org.opencontainers.image.version="${VERSION}"
