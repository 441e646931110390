//! A person breaks it by hand, and watches that nothing is lost.

use crate::demo::Demo;
use crate::driver::{Driver, Window};
use crate::looks::WIDE;
use crate::visit::{fill, sees_that_it_adds_up, visit};

/// The switches, and what is to be seen while each is on.
const SWITCHES: [(&str, &str); 6] = [
    ("server-refuses", "//*[@data-node='server' and @data-state='away']"),
    ("server-answers-4xx", "//*[@data-edge='retried' and not(contains(@class, 'idle'))]"),
    ("server-dies-after-the-dot", "//ol[@id='mails']//*[starts-with(., 'copy ')]"),
    ("broker-away", "//table[@id='account']//tr[th='Submitted, wait for the broker']"),
    ("member-killed", "//ul[@id='members']/li[1][@data-state='killed']"),
    ("zombie", "//ul[@id='members']/li[2][@data-state='zombie']"),
];

async fn flip(window: &Window, name: &str, on: bool) {
    window.click(&format!("//button[@id='switch-{name}']")).await;
    window.find(&format!("//button[@id='switch-{name}' and @aria-checked='{on}']")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs chromium"]
async fn a_person_flips_each_switch_submits_and_sees_that_nothing_is_lost() {
    let (demo, driver) = (Demo::empty().await, Driver::start().await);
    let window = driver.window(WIDE, true).await;
    visit(&window, &demo).await;
    fill(&window, "count", "12").await;
    for (round, (name, seen)) in (1..).zip(SWITCHES) {
        flip(&window, name, true).await;
        window.click("//form[@id='submit']//button[.='Submit']").await;
        // A member that was killed, or stands still, is missed after its session.
        window.find(seen).await;
        window.picture(&format!("live-page-{name}")).await;
        flip(&window, name, false).await;
        sees_that_it_adds_up(&window, &demo, round * 12).await;
    }
    let shown = demo.snapshot().await;
    let account = &shown["play"]["account"];
    assert_eq!((&account["unexpected"], &account["without_mail"]), (&0.into(), &0.into()));
    assert_eq!(window.complaints().await, Vec::<String>::new());
}
