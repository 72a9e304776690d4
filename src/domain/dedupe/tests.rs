use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::domain::content_key::ContentHasher;

const BUILD: &str = "amazon-ebs.web";

fn content(parts: &[(&str, &str)]) -> Content {
    let hasher = ContentHasher::new("k1".into(), [7; 32]);
    hasher.content(parts.iter().map(|(name, value)| ((*name).to_owned(), json!(value))))
}

fn same() -> Content {
    content(&[("template", "t"), ("variable:region", "eu"), ("build:amazon-ebs.web:region", "eu")])
}

fn now() -> DateTime<Utc> {
    "2026-01-02T12:00:00Z".parse().unwrap()
}

fn sources(ami: &str) -> BTreeMap<String, String> {
    [(BUILD.to_owned(), ami.to_owned())].into()
}

fn candidate(number: u128, state: RunState) -> Candidate {
    Candidate {
        run: RunId(Uuid::from_u128(number)),
        state,
        cancel_requested: false,
        spoiled: false,
        created_at: now() - TimeDelta::hours(3),
        content: Some(same()),
        sources: sources("ami-1"),
        variables: json!({"region": "eu"}),
        image: "web #7".into(),
        image_is_built: state == RunState::Succeeded,
        copies: i64::from(state == RunState::Succeeded),
        copies_gone: 0,
    }
}

fn decided(dedupe: Dedupe, candidates: &[Candidate]) -> Decision {
    let known = Sources::Known(sources("ami-1"));
    let variables = json!({"region": "eu"});
    decide(&Wanted { dedupe, content: Ok(&same()), sources: &known, variables: &variables, now: now() }, candidates)
}

fn reuse() -> Dedupe {
    Dedupe::Reuse { max_age: Duration::from_hours(24) }
}

#[test]
fn the_run_furthest_along_is_joined() {
    let mut later = candidate(3, RunState::Running);
    later.created_at = now();
    let all =
        [candidate(1, RunState::Queued), later, candidate(2, RunState::Running), candidate(4, RunState::Succeeded)];
    for dedupe in [Dedupe::Join, reuse()] {
        let decision = decided(dedupe, &all);
        assert_eq!(decision.run, Some(all[2].run));
        assert_eq!(decision.explanation.outcome, DedupeOutcome::Joined);
    }
    insta::assert_snapshot!(decided(Dedupe::Join, &all).explanation.reason, @"Joined: run 00000000-0000-0000-0000-000000000002 (running) has the same content, and its source AMI is the one that would be taken now.");
    let mut early = candidate(1, RunState::Queued);
    early.sources.clear();
    assert_eq!(
        decided(Dedupe::Join, std::slice::from_ref(&early)).run,
        Some(early.run),
        "it looks its AMI up later than now"
    );
}

#[test]
fn what_is_over_is_reused_only_when_asked_for() {
    let mut newer = candidate(5, RunState::Succeeded);
    newer.created_at = now() - TimeDelta::minutes(90);
    let all = [candidate(4, RunState::Succeeded), newer.clone()];
    let decision = decided(reuse(), &all);
    assert_eq!((decision.run, decision.explanation.outcome), (Some(newer.run), DedupeOutcome::Reused));
    insta::assert_snapshot!(decision.explanation.reason, @"Reused: run 00000000-0000-0000-0000-000000000005 made the same content 1 hour ago from the source AMI that would be taken now; its image web #7 is built, and all its AMIs are there.");
    let decision = decided(Dedupe::Join, &all);
    assert_eq!(decision.run, None);
    insta::assert_snapshot!(decision.explanation.reason, @"Made anew: run 00000000-0000-0000-0000-000000000004 (succeeded) has the same content, but it is over, and the request asks for `join` only.");
}

#[test]
fn a_run_with_the_same_content_that_does_not_do_is_named() {
    let good = candidate(1, RunState::Succeeded);
    let at_work = candidate(1, RunState::Running);
    let cases = [
        (Candidate { cancel_requested: true, ..at_work.clone() }, "is being cancelled"),
        (Candidate { spoiled: true, ..at_work.clone() }, "has a build that did not succeed, or waits for a person"),
        (
            Candidate { sources: sources("ami-0"), ..at_work },
            "was made from another source AMI (build `amazon-ebs.web`: ami-0; now it would be ami-1)",
        ),
        (candidate(1, RunState::Unwinding), "is undoing what it made"),
        (candidate(1, RunState::Stuck), "is stuck"),
        (candidate(1, RunState::Failed), "did not succeed"),
        (candidate(1, RunState::Cancelled), "did not succeed"),
        (
            Candidate { created_at: now() - TimeDelta::hours(25), ..good.clone() },
            "is 25 hours old, and 24 hours is the most",
        ),
        (Candidate { image_is_built: false, ..good.clone() }, "has no complete image (web #7)"),
        (Candidate { copies: 0, ..good.clone() }, "made no AMI"),
        (Candidate { copies: 3, copies_gone: 1, ..good.clone() }, "has lost 1 of the 3 AMIs of its image web #7"),
    ];
    for (candidate, why) in cases {
        let decision = decided(reuse(), std::slice::from_ref(&candidate));
        assert_eq!(decision.run, None, "{why}");
        let reason = decision.explanation.reason;
        assert!(reason.ends_with(&format!("has the same content, but it {why}.")), "{reason}");
        let compared = decision.explanation.compared_with.unwrap();
        assert_eq!((compared.run, compared.state), (candidate.run, candidate.state));
    }
    let exactly = Candidate { created_at: now() - TimeDelta::hours(24), ..good };
    assert!(decided(reuse(), &[exactly]).run.is_some());
}

#[test]
fn the_nearest_run_is_named_with_what_differs() {
    let mut far = candidate(1, RunState::Running);
    far.content = Some(content(&[("template", "other"), ("variable:region", "us"), ("variable:x", "1")]));
    let mut near = candidate(2, RunState::Running);
    near.content =
        Some(content(&[("template", "t"), ("variable:region", "us"), ("build:amazon-ebs.web:region", "us")]));
    near.variables = json!({"region": "us"});
    near.sources = sources("ami-0");
    let decision = decided(Dedupe::Join, &[far, near.clone(), candidate(9, RunState::Failed)]);
    // The failed one has the same content, which says more than any other.
    assert!(decision.explanation.reason.contains("did not succeed"), "{}", decision.explanation.reason);

    let mut over = near.clone();
    over.state = RunState::Succeeded;
    over.run = RunId(Uuid::from_u128(8));
    let decision = decided(Dedupe::Join, &[over.clone(), near.clone()]);
    insta::assert_snapshot!(decision.explanation.reason, @r#"Made anew: no run in progress has the same content. The nearest is 00000000-0000-0000-0000-000000000002 (running): the variable `region` ("eu" instead of "us") and the source AMI of build `amazon-ebs.web` (ami-1 instead of ami-0) differ."#);
    let parts: Vec<String> =
        decision.explanation.compared_with.unwrap().differs.into_iter().map(|difference| difference.part).collect();
    assert_eq!(parts, ["build:amazon-ebs.web:region", "variable:region", "source_ami:amazon-ebs.web"]);
    insta::assert_snapshot!(decided(Dedupe::Join, &[over]).explanation.reason, @r#"Made anew: no run in progress has the same content, nor is one of this template in progress in this account. The nearest is 00000000-0000-0000-0000-000000000008 (succeeded): the variable `region` ("eu" instead of "us") and the source AMI of build `amazon-ebs.web` (ami-1 instead of ami-0) differ."#);
}

#[test]
fn what_can_not_be_compared_is_told() {
    let mut old = candidate(1, RunState::Running);
    old.content = None;
    insta::assert_snapshot!(decided(Dedupe::Join, &[old]).explanation.reason, @"Made anew: no run in progress has the same content. Run 00000000-0000-0000-0000-000000000001 (running) is from a time when the content was not recorded.");
    let mut other_key = candidate(1, RunState::Running);
    other_key.content = Some(Content { key_id: "k0".into(), ..same() });
    insta::assert_snapshot!(decided(Dedupe::Join, &[other_key]).explanation.reason, @"Made anew: no run in progress has the same content. Run 00000000-0000-0000-0000-000000000001 (running) can't be compared: the server's secret key was changed since.");
    insta::assert_snapshot!(decided(reuse(), &[]).explanation.reason, @"Made anew: no run in progress or over has the same content, and there is no other run of this template in this account.");

    let unknown = Sources::Unknown("the cloud did not answer within 5 s".into());
    let (same, variables) = (same(), json!({}));
    let all = [candidate(1, RunState::Running)];
    let wanted =
        Wanted { dedupe: Dedupe::Join, content: Ok(&same), sources: &unknown, variables: &variables, now: now() };
    let decision = decide(&wanted, &all);
    assert_eq!((decision.run, decision.explanation.compared_with), (None, None));
    insta::assert_snapshot!(decision.explanation.reason, @"Made anew: whether another run would do can't be told, because the cloud did not answer within 5 s.");
}

#[test]
fn runs_that_asked_for_nothing_are_explained_too() {
    let known = sources("ami-1");
    let content = content(&[("template", "t"), ("variable:region", "us")]);
    let variables = json!({"region": "us"});
    let made = |origin| MadeAnyway { origin, content: Some(&content), sources: &known, variables: &variables };
    let before = candidate(1, RunState::Succeeded);
    let left_out = Origin::Request { left_out: true };
    insta::assert_snapshot!(explain_made(&made(left_out), Some(&before)).reason, @r#"Made anew: the request did not ask to join or reuse a run (`dedupe` was left out). Compared with 00000000-0000-0000-0000-000000000001 (succeeded), the run of this template before it in this account: the variable `region` ("us" instead of "eu") differs."#);
    insta::assert_snapshot!(explain_made(&made(Origin::Request { left_out: false }), None).reason, @"Made anew: the request asked for it (`dedupe` was `never`). It is the first run of its template in this account.");
    let slot = Origin::Schedule { name: "weekly", slot: Some(now()) };
    let mut twin = before;
    twin.content = Some(content.clone());
    insta::assert_snapshot!(explain_made(&made(slot), Some(&twin)).reason, @"Made anew: schedule `weekly` started it for 2026-01-02T12:00:00Z; each time of a schedule gets a run of its own. It has the same content as 00000000-0000-0000-0000-000000000001 (succeeded), the run of this template before it in this account.");
}

#[test]
fn hidden_values_are_not_told() {
    let (one, other) = (content(&[("variable:password", "a")]), content(&[("variable:password", "b")]));
    let hidden = json!({"password": "<sensitive>"});
    assert_eq!(words::part("variable:password", (&one, &hidden), (&other, &hidden)), "the variable `password`");
    let nothing = content(&[]);
    assert_eq!(
        words::part("variable:password", (&one, &hidden), (&nothing, &json!({}))),
        "the variable `password`, which only this run has,"
    );
}

#[test]
fn ages_are_told_in_their_largest_unit() {
    for (seconds, text) in
        [(1, "1 second"), (119, "1 minute"), (7_200, "2 hours"), (172_800, "2 days"), (-5, "0 seconds")]
    {
        assert_eq!(words::age(TimeDelta::seconds(seconds)), text);
    }
}
