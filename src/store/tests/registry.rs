//! Templates, images and tokens.

use serde_json::json;

use super::*;
use crate::domain::ids::TokenId;
use crate::domain::image::ImageState;
use crate::domain::role::Role;
use crate::store::Page;
use crate::store::images::ImageFilter;
use crate::store::tokens::NewToken;

#[tokio::test]
async fn the_same_content_is_the_same_version() {
    let scene = Scene::new().await;
    let who = someone();
    let same = Bundle::single("web.pkr.hcl", b"source {}".to_vec()).unwrap();
    let other = Bundle::single("web.pkr.hcl", b"source { }".to_vec()).unwrap();
    let put = async |name: &str, bundle: &Bundle| {
        scene.store.put_template(name, None, None, bundle, &json!({}), &who).await.unwrap()
    };
    let (again, created) = put("web", &same).await;
    assert!(!created && again == scene.version);
    let (second, created) = put("web", &other).await;
    assert!(created && second.version == 2);
    let (third, created) = put("web", &same).await;
    assert!(created && third.version == 3, "only the newest version counts");
    put("api", &same).await;
    let blobs: i64 = sqlx::query_scalar("SELECT count(*) FROM blobs").fetch_one(&scene.store.pool).await.unwrap();
    assert_eq!(blobs, 2, "equal content is stored once");
    assert_eq!(scene.store.bundle(second.id).await.unwrap(), other);

    let template = scene.store.template("web").await.unwrap();
    assert_eq!((template.id, template.newest_version), (scene.version.template_id, 3));
    assert_eq!(scene.store.template(&template.id.to_string()).await.unwrap(), template);
    assert_eq!(scene.store.template("nope").await.unwrap_err().code, "template-not-found");
    assert_eq!(scene.store.version(template.id, Some(2)).await.unwrap(), second);
    assert_eq!(scene.store.version(template.id, None).await.unwrap(), third);
    assert_eq!(scene.store.versions(template.id, &Page::first(10)).await.unwrap().len(), 3);
    assert_eq!(scene.store.templates(&Page::first(10), Some("a")).await.unwrap().len(), 1);
    assert_eq!(scene.store.templates(&Page::first(10), None).await.unwrap().len(), 2);
}

#[tokio::test]
async fn puts_of_one_template_go_one_after_the_other() {
    let scene = Scene::new().await;
    let bundles: Vec<_> = (0..12_u8).map(|byte| Bundle::single("x.pkr.hcl", vec![byte % 6]).unwrap()).collect();
    let who = someone();
    let outline = json!({});
    let puts = bundles.iter().map(|bundle| scene.store.put_template("new", Some("d"), None, bundle, &outline, &who));
    let results = futures::future::join_all(puts).await;
    let created = results.into_iter().filter(|result| result.as_ref().unwrap().1).count();
    let template = scene.store.template("new").await.unwrap();
    assert_eq!(i32::try_from(created).unwrap(), template.newest_version);
}

#[tokio::test]
async fn images_are_found_by_what_is_known_of_them() {
    let scene = Scene::new().await;
    scene.accept(1).await;
    scene.succeed(&scene.claim().await, "ami-1").await;
    scene.clock.advance(Duration::from_secs(1));
    let second = scene.accept(1).await;
    let image = scene.store.image("ami-1").await.unwrap();
    assert_eq!(scene.store.image(&image.id.to_string()).await.unwrap(), image);
    for missing in ["ami-2", "nonsense", &Uuid::nil().to_string()] {
        assert_eq!(scene.store.image(missing).await.unwrap_err().code, "image-not-found");
    }
    let find = async |filter: ImageFilter| {
        let found = scene.store.images(&Page::first(10), &filter).await.unwrap();
        found.iter().map(|image| image.number).collect::<Vec<_>>()
    };
    let tags = |list: &[(&str, &str)]| ImageFilter {
        tags: list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ..ImageFilter::default()
    };
    assert_eq!(find(ImageFilter::default()).await, [2, 1], "newest first");
    assert_eq!(find(tags(&[("Release", "7")])).await, [1]);
    assert_eq!(find(tags(&[("Release", "7"), ("team", "edge")])).await, [1]);
    assert_eq!(find(tags(&[("Release", "7"), ("team", "core")])).await, [0_i64; 0]);
    let regions = |region: &str, arch: &str| ImageFilter {
        region: Some(region.into()),
        arch: Some(arch.into()),
        ..ImageFilter::default()
    };
    assert_eq!(find(regions("us-east-1", "x86_64")).await, [1]);
    assert_eq!(find(regions("us-east-1", "arm64")).await, [0_i64; 0]);
    assert_eq!(find(ImageFilter { state: Some(ImageState::Building), ..ImageFilter::default() }).await, [2]);
    assert_eq!(find(ImageFilter { created_before: Some(second.created_at), ..ImageFilter::default() }).await, [1]);
    assert_eq!(find(ImageFilter { created_after: Some(image.created_at), ..ImageFilter::default() }).await, [2]);
}

#[tokio::test]
async fn tokens_live_and_are_revoked() {
    let scene = Scene::new().await;
    assert!(!scene.store.any_admin_token_ever().await.unwrap());
    let new = |name: &str| NewToken {
        id: TokenId(Uuid::now_v7()),
        name: name.into(),
        description: String::new(),
        role: Role::Admin,
        expires_at: None,
    };
    let first = scene.store.insert_token(&new("ci"), [1; 32], &someone()).await.unwrap();
    assert_eq!(scene.store.insert_token(&new("ci"), [2; 32], &someone()).await.unwrap_err().code, "token-name-taken");
    assert_eq!(scene.store.token_by_hash([1; 32]).await.unwrap().unwrap().row, first);
    assert_eq!(scene.store.token_by_hash([2; 32]).await.unwrap(), None);

    let used = async || scene.store.token(first.id).await.unwrap().last_used_at.unwrap();
    let start = scene.clock.now();
    scene.store.touch_token(first.id, start).await.unwrap();
    scene.store.touch_token(first.id, start + Duration::from_secs(59)).await.unwrap();
    assert_eq!(used().await, start, "at most once a minute");
    scene.store.touch_token(first.id, start + Duration::from_mins(1)).await.unwrap();
    assert_eq!(used().await, start + Duration::from_mins(1));

    let revoked = scene.store.revoke_token(first.id, &someone()).await.unwrap();
    scene.clock.advance(Duration::from_secs(5));
    assert_eq!(scene.store.revoke_token(first.id, &someone()).await.unwrap().revoked_at, revoked.revoked_at);
    scene.store.insert_token(&new("ci"), [2; 32], &someone()).await.unwrap();
    assert!(scene.store.any_admin_token_ever().await.unwrap());
    assert_eq!(scene.store.tokens(&Page::first(10)).await.unwrap().len(), 2);
}

/// The builds of a template may have tags of their own: what is asked has to be true of one AMI.
#[tokio::test]
async fn tags_are_those_of_each_copy() {
    let scene = Scene::new().await;
    scene.accept(2).await;
    for (os, region, ami_id) in [("Ubuntu", "us-east-1", "ami-1"), ("Other", "eu-west-1", "ami-2")] {
        let claimed = scene.claim().await;
        let mut record = commit_record(ami_id, &claimed);
        region.clone_into(&mut record.copies[0].region);
        record.tags = vec![("OS".into(), os.into()), ("Team".into(), "core".into())];
        claimed.journal.commit(&scene.entry(1, None, JournalEvent::Committed), &record).await.unwrap();
    }
    let found = async |os: &str, region: &str| {
        let tags = vec![("OS".to_owned(), os.to_owned()), ("Team".to_owned(), "core".to_owned())];
        let filter = ImageFilter { tags, region: Some(region.to_owned()), ..ImageFilter::default() };
        scene.store.images(&Page::first(10), &filter).await.unwrap().len()
    };
    assert_eq!((found("Ubuntu", "us-east-1").await, found("Other", "eu-west-1").await), (1, 1));
    assert_eq!((found("Other", "us-east-1").await, found("Ubuntu", "eu-west-1").await), (0, 0));
    let image = scene.store.image("ami-2").await.unwrap();
    let of_copies: Vec<_> = image.copies.iter().map(|copy| (copy.ami_id.as_str(), copy.tags["OS"].as_str())).collect();
    assert_eq!(of_copies, [("ami-1", "Ubuntu"), ("ami-2", "Other")]);
    // As a server of the version before leaves it.
    sqlx::query("DELETE FROM build_tags").execute(&scene.store.pool).await.unwrap();
    assert_eq!(scene.store.image("ami-2").await.unwrap().copies[0].tags["OS"], "Other");
}
