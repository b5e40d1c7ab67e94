use std::path::Path;

use crate::env::Env;
use crate::error::ConfigError;
use crate::load::load_text;

const OFF: &str = "adapter.server.enabled = false\n";

/// The errors of `[enforcer.throttling]` with these lines, the table of it first.
fn errors(lines: &str) -> Vec<String> {
    let text = format!("{OFF}[enforcer.throttling]\n{lines}");
    match load_text(&text, Path::new("config.toml"), &Env::default()) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ConfigError::report).collect(),
    }
}

/// The errors of one policy with these lines.
fn policy(lines: &str) -> Vec<String> {
    errors(&format!("[[enforcer.throttling.policy]]\n{lines}"))
}

#[test]
fn what_limits_nothing_is_refused_with_its_key() {
    let cases: [(&str, &str); 21] = [
        ("name = 'A'\nquota = 1", ""),
        ("name = 'A'\nquota = 0", "policy[0].quota: must be at least 1"),
        ("name = 'A'", "policy[0].quota: must be at least 1"),
        (
            "name = 'A'\nquota = -5",
            "policy[0].quota: -5 is not between 0 and 4294967295",
        ),
        (
            "name = 'A'\nquota = 4294967296",
            "policy[0].quota: 4294967296 is not between 0 and 4294967295",
        ),
        (
            "name = 'A'\nquota = 99999999999999999999",
            "policy[0].quota: 99999999999999999999 is out of range",
        ),
        (
            "name = 'A'\nquota = '5'",
            "policy[0].quota: expected an integer, found string",
        ),
        (
            "name = 'A'\nquota = 1\nunitTime = 0",
            "policy[0].unitTime: must be at least 1",
        ),
        (
            "name = 'A'\nquota = 1\nunitTime = 401\ntimeUnit = 'day'",
            "policy[0].unitTime: with its timeUnit, makes a window of more than 400 days",
        ),
        (
            "name = 'A'\nquota = 1\ntimeUnit = 'month'",
            "policy[0].timeUnit: \"month\" is none of day, hour, min, sec, week",
        ),
        (
            "name = 'A'\nquota = 1\nburstUnit = ''",
            "policy[0].burstUnit: \"\" is none of",
        ),
        (
            "name = 'A'\nquota = 1\nquotaType = 'requests'",
            "policy[0].quotaType: \"requests\" is none of bandwidth, requestCount",
        ),
        (
            "name = 'A'\nquota = 1\ndataUnit = 'TB'",
            "policy[0].dataUnit: \"TB\" is none of B, KB, MB, GB",
        ),
        (
            "name = 'A'\nquota = 1\ndataUnit = 'MB'",
            "policy[0].dataUnit: requests have no unit of data",
        ),
        (
            "name = 'A'\nquota = 1\nquotaType = 'bandwidth'\ndataUnit = 'MB'",
            "",
        ),
        ("quota = 1", "policy[0].name: must not be empty"),
        (
            "name = ' A'\nquota = 1",
            "policy[0].name: must not begin or end with a blank",
        ),
        (
            "name = 'unlimited'\nquota = 1",
            "policy[0].name: Unlimited has no limit",
        ),
        ("name = 'Gold'\nquota = 1\nburst = 1", ""),
        (
            "name = 'Gold'\nquota = 1\nburst = 1\nburstUnit = 'min'",
            "policy[0].burstUnit: must be shorter than the window",
        ),
        (
            "name = 'A'\nquota = 1\n[[enforcer.throttling.policy]]\nname = 'A'\nquota = 2",
            "policy[1].name: \"A\" is also the name of policy[0]",
        ),
    ];
    for (lines, want) in cases {
        let found = policy(lines);
        assert_eq!(found.is_empty(), want.is_empty(), "{lines}: {found:?}");
        assert!(
            found.iter().all(|error| error.contains(want)),
            "{lines}: {found:?}"
        );
        // With file and line where the key is there, and the whole path of it.
        assert!(
            found.iter().all(|error| error.starts_with("config.toml")),
            "{found:?}"
        );
    }
}

#[test]
fn a_condition_that_cannot_match_is_refused_with_its_key() {
    let cases: [(&str, &str); 23] = [
        ("{ type = 'ip', value = '10.0.0.1' }", ""),
        ("{ type = 'ip', value = '10.0.0.0/8', invert = true }", ""),
        ("{ type = 'ip', value = '2001:db8::1 - 2001:db8::9' }", ""),
        ("{ type = 'ip', value = '::/0' }", ""),
        (
            "{ type = 'ip', value = '10.0.0.9-10.0.0.1' }",
            "[0].value: \"10.0.0.9-10.0.0.1\" ends before it begins and cannot match",
        ),
        (
            "{ type = 'ip', value = '10.0.0.1-::9' }",
            "[0].value: \"10.0.0.1-::9\" goes from one kind of address to the other",
        ),
        (
            "{ type = 'ip', value = '10.0.0.0/33' }",
            "[0].value: \"10.0.0.0/33\" is not a network",
        ),
        (
            "{ type = 'ip', value = 'localhost' }",
            "[0].value: \"localhost\" is not an",
        ),
        ("{ value = '' }", "[0].value: \"\" is not an address"),
        (
            "{ type = 'ip', name = 'x', value = '::1' }",
            "[0].name: an ip condition has none",
        ),
        ("{ type = 'header', name = 'X-Kind', value = '^a.*b$' }", ""),
        (
            "{ type = 'header', value = 'a' }",
            "[0].name: \"\" is not the name of a header",
        ),
        (
            "{ type = 'header', name = ':path', value = 'a' }",
            "[0].name: \":path\" is not the name of a header, and cannot match",
        ),
        (
            "{ type = 'header', name = 'x', value = 'a(' }",
            "[0].value: is not a regular expression: ",
        ),
        (
            "{ type = 'header', name = 'x', value = '(?=a)' }",
            "[0].value: is not a regular expression: ",
        ),
        ("{ type = 'query', value = 'a' }", "[0].name: must not be empty"),
        ("{ type = 'claim', value = 'a' }", "[0].name: must not be empty"),
        ("{ type = 'claim', name = 'sub' }", ""),
        (
            "{ type = 'cookie', name = 'a' }",
            "[0].type: \"cookie\" is none of ip, claim, header, query",
        ),
        ("", ".condition: is missing"),
        (
            "{ value = '10.0.0.0/8' }, { value = '192.168.0.0/16' }",
            "[1].value: has no address in common",
        ),
        (
            "{ value = '10.0.0.0/8' }, { value = '::1' }",
            "[1].value: has no address in common",
        ),
        (
            "{ value = '::1' }, { value = '::1', invert = true }",
            "[1]: is the opposite of another one",
        ),
    ];
    for (conditions, want) in cases {
        let line = format!("name = 'A'\nquota = 1\ngroup = [{{ quota = 1, condition = [{conditions}] }}]");
        let found = policy(&line);
        assert_eq!(found.is_empty(), want.is_empty(), "{conditions}: {found:?}");
        let want = format!(
            "enforcer.throttling.policy[0].group[0]{}{want}",
            if want.starts_with('[') { ".condition" } else { "" }
        );
        assert!(
            found.first().is_none_or(|error| error.contains(&want)),
            "{conditions}: {found:?}"
        );
    }
}

#[test]
fn templates_denials_and_the_store_are_checked_as_well() {
    let template = |text: &str| format!("keyTemplate = [{{ quota = 1, template = '{text}' }}]");
    let deny = |text: &str| format!("deny = [{{ {text} }}]");
    let cases: [(String, &str); 22] = [
        (template("$userId:$apiContext:x"), ""),
        (template(""), "keyTemplate[0].template: must not be empty"),
        (
            template("$userid"),
            "keyTemplate[0].template: $userid is not known; did you mean $userId?",
        ),
        (
            template("$customProperty.kind"),
            "keyTemplate[0].template: $customProperty is set by filters",
        ),
        (template("$"), "keyTemplate[0].template: $ is not known"),
        (
            "keyTemplate = [{ template = '$appId' }]".to_owned(),
            "keyTemplate[0].quota: must be at least 1",
        ),
        (deny("type = 'api', value = '/pets/1.0.0'"), ""),
        (
            deny("type = 'api', value = 'pets'"),
            "deny[0].value: must begin with /",
        ),
        (deny("type = 'application', value = 'a:b'"), ""),
        (
            deny("type = 'application', value = 'b'"),
            "deny[0].value: must be subscriber:name",
        ),
        (deny("type = 'user'"), "deny[0].value: must not be empty"),
        (
            deny("type = 'user', value = 'a', invert = true"),
            "deny[0].invert: only denials of type ip",
        ),
        (
            deny("type = 'user', value = 'a', tenant = 'b'"),
            "deny[0].tenant: only denials of type ip",
        ),
        (deny("type = 'subscription', value = '/a:1:b-c:SANDBOX'"), ""),
        (
            deny("type = 'subscription', value = '/a:1:b-c'"),
            "deny[0].value: must be basePath:version",
        ),
        (
            deny("value = '10.0.0.0/8', tenant = 'carbon.super', invert = true"),
            "",
        ),
        (
            deny("value = '10.0.0/8'"),
            "deny[0].value: \"10.0.0\" is not an address",
        ),
        (
            "store = { type = 'redis', url = 'http://a' }".to_owned(),
            "store.url: must begin with redis:// or rediss:// and name a host",
        ),
        (
            "store = { type = 'redis', url = 'redis://a:b@c' }".to_owned(),
            "store.url: must not hold a name and a password",
        ),
        (
            "store = { type = 'redis', timeoutInMillis = 0 }".to_owned(),
            "store.timeoutInMillis: must not be 0",
        ),
        (
            "store = { capacity = 0 }".to_owned(),
            "store.capacity: must be at least 1",
        ),
        (
            format!(
                "keyTemplate = [{}]",
                "{ quota = 1, template = '$appId' }, ".repeat(14)
            ),
            "keyTemplate: with the groups of policies, a request could have 17 limits",
        ),
    ];
    for (lines, want) in cases {
        let found = errors(&lines);
        assert_eq!(found.is_empty(), want.is_empty(), "{lines}: {found:?}");
        let want = format!("enforcer.throttling.{want}");
        assert!(
            found.iter().all(|error| error.contains(&want)),
            "{lines}: {found:?}"
        );
    }
}

#[test]
fn what_is_off_is_not_checked() {
    let lines = "enabled = false\n[[enforcer.throttling.policy]]\nquota = 0";
    assert_eq!(errors(lines), Vec::<String>::new());
}
