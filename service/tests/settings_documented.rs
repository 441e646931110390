//! `docs/service.md` has the tables of settings that every service prints.

const DOCUMENT: &str = include_str!("../../docs/service.md");
const TABLES: &str = include_str!("../src/settings/tables.md");

#[test]
fn the_document_has_every_line_of_the_tables_and_no_other_of_a_setting() {
    let is_row = |line: &&str| line.starts_with("| `") && line.matches(" |").count() >= 5;
    let documented: Vec<_> = DOCUMENT.lines().filter(is_row).collect();
    let tables: Vec<_> = TABLES.lines().filter(is_row).collect();
    assert!(tables.len() > 40, "{}", tables.len());
    let missing: Vec<_> = tables.iter().filter(|line| !documented.contains(line)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    let unknown: Vec<_> = documented.iter().filter(|line| !tables.contains(line)).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}
