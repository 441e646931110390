//! A person sends HTML and a file, and sees both.

use crate::demo::Demo;
use crate::driver::Driver;
use crate::looks::WIDE;
use crate::visit::{fill, sees_that_it_adds_up, visit};

/// What choosing a file by hand does.
const CHOOSE: &str = "
    const chosen = new DataTransfer();
    chosen.items.add(new File(['a;b\\n'], 'Größe.csv', { type: 'text/csv' }));
    document.forms.submit.elements.file.files = chosen.files;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs chromium"]
async fn a_person_sends_html_and_a_file_and_sees_both_and_no_script_runs() {
    let (demo, driver) = (Demo::empty().await, Driver::start().await);
    let window = driver.window(WIDE, true).await;
    visit(&window, &demo).await;
    window.click("//summary[.='HTML and a file']").await;
    let html = "<h1 style='color:teal'>Grüße</h1><script>parent.document.title='taken'</script>";
    fill(&window, "html", html).await;
    window.run(CHOOSE).await;
    window.click("//form[@id='submit']//button[.='Submit']").await;
    window.find("//*[@id='submitted' and .='1 record submitted']").await;
    window.find("//iframe[@src='/mails/1/html' and @sandbox='']").await;
    window.find("//*[@id='mail']//button[.='HTML' and @aria-pressed='true']").await;
    let file = "//ul[@class='files']//a[@href='/mails/1/files/0' and @download='Größe.csv']";
    window.find(file).await;
    assert_eq!(demo.get("/mails/1/files/0").await.body, "a;b\n");
    assert_eq!(demo.get("/mails/1/html").await.body, html);
    sees_that_it_adds_up(&window, &demo, 1).await;
    window.picture("live-page-html").await;
    window.click("//*[@id='mail']//button[.='Text']").await;
    window.find("//iframe[@src='/mails/1/text' and @sandbox='']").await;
    assert_eq!(window.run("return document.title").await, "mailjob, live");
}
