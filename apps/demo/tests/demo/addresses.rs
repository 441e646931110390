//! Which addresses are taken, and how they stand in a mail.

use crate::check::check;
use crate::job::Job;

/// Addresses as given, and as sent; `None` is no address.
pub(crate) const ADDRESSES: &[(&str, Option<&str>)] = &[
    ("a@b", Some("a@b")),
    ("User.Name+tag@Sub.Example.ORG", Some("User.Name+tag@Sub.Example.ORG")),
    ("!#$%&'*+-/?=^_`{|}~@example.org", Some("!#$%&'*+-/?=^_`{|}~@example.org")),
    ("1@1a.2b.org", Some("1@1a.2b.org")),
    ("\"a b\"@example.org", Some("\"a b\"@example.org")),
    ("\"a@b\"@example.org", Some("\"a@b\"@example.org")),
    ("\"a.b..\"@example.org", Some("\"a.b..\"@example.org")),
    ("\"a,b;<c>:(d)[e]\"@example.org", Some("\"a,b;<c>:(d)[e]\"@example.org")),
    ("\"a\\\"b\\\\c\"@example.org", Some("\"a\\\"b\\\\c\"@example.org")),
    ("\"\"@example.org", Some("\"\"@example.org")),
    ("\" \"@example.com", Some("\" \"@example.com")),
    ("shop@EXAMPLE.Com", Some("shop@EXAMPLE.Com")),
    ("shop@xn--bcher-kva.example", Some("shop@xn--bcher-kva.example")),
    ("shop@b\u{fc}cher.example", Some("shop@xn--bcher-kva.example")),
    ("shop@B\u{dc}CHER.example", Some("shop@xn--bcher-kva.example")),
    ("shop@\u{4f8b}\u{3048}.\u{30c6}\u{30b9}\u{30c8}", Some("shop@xn--r8jz45g.xn--zckzah")),
    ("jos\u{e9}@example.org", Some("jos\u{e9}@example.org")),
    ("\"jos\u{e9} x\"@example.org", Some("\"jos\u{e9} x\"@example.org")),
    ("\u{5bff}\u{53f8}@b\u{fc}cher.example", Some("\u{5bff}\u{53f8}@xn--bcher-kva.example")),
    // An address of the built-in jobs, for which the inbox misbehaves: never with `--jobs`.
    ("no-such-user@example.com", Some("no-such-user@example.com")),
    ("always-busy@example.com", Some("always-busy@example.com")),
    ("greylisted@example.com", Some("greylisted@example.com")),
    ("cut-short@example.com", Some("cut-short@example.com")),
    ("lost-reply@example.com", Some("lost-reply@example.com")),
    ("", None),
    (" ", None),
    ("user", None),
    ("@", None),
    ("user@", None),
    ("@example.org", None),
    (" user@example.org", None),
    ("user@example.org ", None),
    ("user @example.org", None),
    ("user@ example.org", None),
    ("User <user@example.org>", None),
    ("<user@example.org>", None),
    ("user@example.org (comment)", None),
    ("user@example.org,other@example.org", None),
    (".user@example.org", None),
    ("us..er@example.org", None),
    ("user.@example.org", None),
    ("a b@example.org", None),
    ("a,b@example.org", None),
    ("a\"b@example.org", None),
    ("a@b@example.org", None),
    ("\"a\"b@example.org", None),
    ("\"ab@example.org", None),
    ("\"a\\\"@example.org", None),
    ("\"a\"", None),
    ("\"a\"\"b\"@example.org", None),
    ("user@example..org", None),
    ("user@.example.org", None),
    ("user@example.org.", None),
    ("user@-example.org", None),
    ("user@example-.org", None),
    ("user@exa_mple.org", None),
    ("user@exa mple.org", None),
    ("user@b\u{fc}cher.example.", None),
    ("user@b\u{fc} cher.example", None),
    ("user@[192.0.2.1]", None),
    ("user@[IPv6:2001:db8::1]", None),
    ("user@[example.org]", None),
    ("user@example.org\r\nRCPT TO:<victim@example.org>", None),
    ("user@example.org\nBcc: victim@example.org", None),
    ("user\0@example.org", None),
    ("\"a\tb\"@example.org", None),
    ("us\u{7f}er@example.org", None),
    ("us\u{1f}er@b\u{fc}cher.example", None),
    ("us\u{200b}er@example.org", None),
    ("user@exam\u{200b}ple.org", None),
    ("us\u{2060}er@example.org", None),
    ("user@exam\u{2060}ple.org", None),
    ("\u{feff}user@example.org", None),
    ("user@example.org\u{feff}", None),
    ("\"us\u{202e}er\"@example.org", None),
    ("us\u{200f}er@b\u{fc}cher.example", None),
    ("user@\u{2066}example.org", None),
    ("!#$%&'*+-/=?^_`{|}~@example.org", None),
    ("=?utf-8?q?user?=@example.org", None),
    ("\"=?utf-8?q?user?=\"@example.org", None),
];

#[test]
fn addresses_are_mailboxes_of_rfc_5321_on_both_sides() {
    let numbered = ADDRESSES.iter().enumerate();
    let lines: Vec<_> = numbered
        .flat_map(|(n, (address, _))| {
            let to = Job::new(format!("to {n}")).to(address);
            let from = Job::new(format!("from {n}")).from(address).data_as_text();
            [to.line(), from.line()]
        })
        .collect();
    let left = check(&lines);
    let taken = ADDRESSES.iter().filter(|(_, sent)| sent.is_some()).count();
    assert_eq!(left.mails.len(), 2 * taken);
}

#[test]
fn a_part_of_an_address_is_as_long_as_its_limit_and_no_longer() {
    let label = |length: usize| "b".repeat(length);
    let domain = |last: usize| format!("{0}.{0}.{0}.{1}", label(63), label(last));
    let local = |length: usize| format!("{}@example.org", "a".repeat(length));
    let quoted = |length: usize| format!("\"{}\"@example.org", "a".repeat(length - 2));
    let wide = |octets: usize| format!("{}@example.org", "\u{e9}".repeat(octets / 2));
    let idn = |length: usize| format!("a@{}\u{fc}.example", label(length));
    let cases = [
        (local(64), true),
        (local(65), false),
        (quoted(64), true),
        (quoted(65), false),
        (wide(64), true),
        (wide(66), false),
        (format!("a@{}.org", label(63)), true),
        (format!("a@{}.org", label(64)), false),
        (format!("a@{}", domain(63)), true),
        (format!("a@{}.c", domain(61)), true),
        (format!("a@{}.c", domain(62)), false),
        (format!("a@{}.c", domain(63)), false),
        (format!("{}@{}", "a".repeat(64), domain(63)), true),
        // `xn--`, the letters, `-` and three digits for the place of the one that is not ASCII.
        (idn(54), true),
        (idn(56), false),
    ];
    assert_eq!(cases[8].0.len(), "a@".len() + 255);
    for side in [Job::to as fn(Job, &str) -> Job, Job::from] {
        let numbered = cases.iter().enumerate();
        let lines: Vec<_> =
            numbered.map(|(n, (address, _))| side(Job::new(n), address).line()).collect();
        let left = crate::run::demo(&lines);
        for (n, (address, taken)) in cases.iter().enumerate() {
            let id = n.to_string();
            let result = left.results.iter().find(|r| r.key == *id).expect("a result");
            let outcome = if *taken { "accepted" } else { "rejected" };
            assert_eq!(result.headers["job-outcome"], outcome, "{address}");
        }
    }
}

#[test]
fn a_refused_address_is_not_shown_in_the_reason() {
    let left = check(&[Job::new(1).to("secret secret@example.org").line()]);
    let reason = &left.results[0].headers["job-error"];
    assert!(reason.contains("DestinationAddress") && !reason.contains("secret"), "{reason}");
}
