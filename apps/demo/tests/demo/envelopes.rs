//! Who sends, and to whom: nobody outside the allowed domain can be impersonated.

use crate::check::check;
use crate::job::Job;
use crate::mail;
use crate::model::MAIL_FROM;

#[test]
fn only_addresses_of_the_allowed_domain_stand_in_from() {
    let allowed = ["shop@example.com", "shop@EXAMPLE.Com", "\" \"@example.com"];
    let others = ["a@elsewhere.example", "\"a@b\"@example.org", "shop@b\u{fc}cher.example", "a@b"];
    let lines: Vec<_> =
        allowed.iter().chain(&others).map(|source| Job::new(*source).from(source).line()).collect();
    let mails = check(&lines).mails;
    let (mut own, mut replied) = (Vec::new(), 0);
    for (_, mail) in mails.iter().map(|raw| mail::read(raw)) {
        match mail.reply_to {
            None => own.push(mail.from),
            Some(_) => {
                assert_eq!(mail.from, MAIL_FROM);
                replied += 1;
            }
        }
    }
    own.sort();
    assert_eq!(own, ["\" \"@example.com", "shop@EXAMPLE.Com", "shop@example.com"]);
    assert_eq!(replied, others.len());
}

#[test]
fn the_subject_and_the_ids_add_no_header() {
    let evil = "x\r\nBcc: victim@example.org\r\n\r\nbody";
    let lines = [
        Job::new(1).subject(evil).line(),
        Job::new(2).subject("x\nBcc: victim@example.org").line(),
        Job::new(3).subject("x\rBcc: victim@example.org").line(),
        Job::new(4).subject("x\0").line(),
        Job::new(5).subject("x\u{7f}").line(),
        Job::new(6).subject("tab\there").line(),
        Job::new(evil).field("ScheduleTime", evil).field("CreatedAt", evil).line(),
        Job::new(8).message(evil).line(),
        Job::new(9).message("\r\nBcc: victim@example.org\r\n").line(),
        Job::new(10).field("Bcc", evil).field("Reply-To", evil).line(),
    ];
    assert_eq!(check(&lines).mails.len(), 4);
}
