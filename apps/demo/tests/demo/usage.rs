//! Exit codes, and what is said about wrong usage.

use crate::job::Job;
use crate::run::Folder;

/// Runs it, and gives its exit code and what it says about the error.
fn fails(folder: &Folder, args: &[&str]) -> (Option<i32>, String) {
    let output = folder.run(args, b"");
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(output.stdout.is_empty(), "{args:?}");
    assert!(!text.contains("panicked") && !text.contains("os error"), "{text}");
    (output.status.code(), text)
}

#[test]
fn wrong_usage_ends_with_2() {
    let folder = Folder::new();
    for args in [
        &["nonsense"][..],
        &["--nonsense"],
        &["--jobs"],
        &["--jobs", ""],
        &["--generate"],
        &["--generate", "abc"],
        &["--generate", "-1"],
        &["--generate", "1.5"],
        &["--generate", "99999999999999999999"],
        &["--jobs", "jobs.jsonl", "--generate", "1"],
        &["--jobs", "-", "--jobs", "-"],
    ] {
        let (code, text) = fails(&folder, args);
        assert_eq!(code, Some(2), "{args:?}: {text}");
        assert!(
            text.contains("Usage: mailjob-demo") || text.contains("--help"),
            "{args:?}: {text}"
        );
    }
}

#[test]
fn a_file_that_cannot_be_used_is_named_in_one_line_and_ends_with_2() {
    let folder = Folder::new();
    folder.write("jobs", Job::new(1).line().as_bytes());
    for (args, expected) in [
        (&["--jobs", "missing"][..], "cannot read 'missing': No such file or directory"),
        (&["--jobs", "."], "cannot read '.': Is a directory"),
        (&["--jobs", "jobs/x"], "cannot read 'jobs/x': Not a directory"),
        (&["--results", "no/r"], "cannot write 'no/r': No such file or directory"),
        (&["--dead-letters", "."], "cannot write '.': Is a directory"),
        (&["--mails", "jobs"], "cannot make the folder 'jobs': File exists"),
        (
            &["--results", "r", "--dead-letters", "./r"],
            "--results and --dead-letters both name './r', expected two files",
        ),
        (
            &["--jobs", "jobs", "--results", "jobs"],
            "--jobs and --results both name 'jobs', expected two files",
        ),
    ] {
        folder.write("r", b"");
        let (code, text) = fails(&folder, args);
        assert_eq!((code, text), (Some(2), format!("mailjob-demo: {expected}\n")), "{args:?}");
    }
    assert_eq!(folder.read("jobs"), Job::new(1).line());
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_takes_no_bytes_ends_with_1_and_one_file_may_swallow_all() {
    let folder = Folder::new();
    folder.write("jobs", Job::new(1).line().as_bytes());
    let (code, text) = fails(&folder, &["--jobs", "jobs", "--results", "/dev/full"]);
    let expected = "mailjob-demo: cannot write '/dev/full': No space left on device\n";
    assert_eq!((code, &*text), (Some(1), expected));
    let null = ["--results", "/dev/null", "--dead-letters", "/dev/null"];
    let args = [&["--jobs", "jobs"][..], &null].concat();
    assert_eq!(folder.run(&args, b"").status.code(), Some(0));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure_of_the_run() {
    let (output, unread) = std::io::pipe().unwrap();
    drop(output);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mailjob-demo"));
    let ended = command.stdout(unread).output().unwrap();
    let text = String::from_utf8(ended.stderr).unwrap();
    assert_eq!((ended.status.code(), &*text), (Some(0), ""));
}

#[test]
fn failed_jobs_and_dead_letters_are_no_failure_of_the_run() {
    let left = Folder::new().demo(b"no job\n{\"Id\":\"1\",\"Status\":2}");
    assert_eq!((left.results.len(), left.dead_letters.len()), (1, 1));
}

#[test]
fn nothing_to_generate_is_a_run_that_ends_well() {
    let left = Folder::new().demo_with(&["--generate", "0"], b"");
    assert!(left.results.is_empty() && left.mails.is_empty());
}

#[test]
fn help_and_version_end_with_0_and_help_shows_examples() {
    let folder = Folder::new();
    for args in [&["--help"], &["-h"], &["--version"]] {
        let output = folder.run(args, b"");
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{args:?}");
    }
    let help = folder.run(&["--help"], b"").stdout;
    let help = String::from_utf8(help).unwrap();
    for part in ["Examples:", "mailjob-demo --jobs", "--generate", "--dead-letters", "--mails"] {
        assert!(help.contains(part), "{part} in {help}");
    }
}
