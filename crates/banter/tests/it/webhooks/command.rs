//! `banter webhook`, as the owner of a channel uses it.

use serde_json::Value;

use crate::support::fixture::Fixture;
use crate::support::http::Request;
use crate::support::message::words;
use crate::support::person::Person;
use crate::support::{PASSWORD, Ran, banter};

fn webhook(chat: &Fixture, who: &Person, arguments: &[&str]) -> Ran {
    let state = chat.data_dir().join("state");
    let mut command = banter(chat.data_dir(), &[&["webhook"], arguments].concat());
    command
        .env("BANTER_SERVER", chat.base_url())
        .env("BANTER_USER", &who.name)
        .env("BANTER_PASSWORD", PASSWORD)
        .env("XDG_STATE_HOME", state);
    Ran::from(command.output().expect("it starts"))
}

#[test]
fn the_owner_creates_lists_and_deletes_by_name() {
    let chat = Fixture::new();
    let [ann, bob] = chat.people(["ann", "bob"]);
    let channel = ann.create("alerts");
    let run = |arguments: &[&str]| webhook(&chat, &ann, arguments);
    assert_eq!(run(&["list", "#alerts"]).succeeded(), "");
    let printed = run(&["create", "#alerts", "Build"]).succeeded();
    let url = printed.strip_suffix('\n').expect("one line");
    let path = url
        .strip_prefix(&chat.base_url())
        .expect("the server's own");
    let post = || {
        let text = serde_json::json!({"text": words("by hand")});
        chat.call(&Request::post(path).json(&text))
    };
    assert_eq!(post().status, 201);
    assert_eq!(ann.history(&channel)[2]["author"], "build");

    let listed = run(&["list", &channel, "--json"]).succeeded();
    let item: Value = serde_json::from_str(&listed).expect("one object");
    assert_eq!(item["name"], "build");
    let secret = url.rsplit('/').next().expect("a secret");
    let plain = run(&["list", "alerts"]).succeeded();
    assert!(
        plain.starts_with("build ") && plain.lines().count() == 1,
        "{plain}"
    );
    assert!(!(listed + &plain).contains(secret));

    assert!(
        run(&["create", "#alerts", "build"])
            .failed()
            .contains("taken")
    );
    assert!(
        run(&["delete", "#alerts", "other"])
            .failed()
            .contains("no webhook other")
    );
    assert!(
        run(&["create", "#nowhere", "build"])
            .failed()
            .contains("no channel")
    );
    let refused = webhook(&chat, &bob, &["list", "#alerts"]).failed();
    assert!(refused.contains("belongs to ann"), "{refused}");
    assert!(run(&["create", "#alerts", "x"]).refused().contains("'x'"));

    run(&["delete", "#alerts", "build"]).succeeded();
    post().refused(404, "webhook_not_found");
    let again = run(&["create", "#alerts", "build"]).succeeded();
    assert_ne!(again, printed);
}
