//! What lies in `deploy/`, held against the programs that are to read it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::tempdir;

/// More exposure than that is more than a server of ours needs (`systemd-analyze security`).
const EXPOSURE_MAX: f32 = 2.5;

fn units() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/systemd")
}

#[test]
fn systemd_understands_the_units() {
    let analyze = |arguments: &[&str], unit: &Path| {
        let mut command = Command::new("systemd-analyze");
        command.args(arguments).arg(unit).output()
    };
    if analyze(&["--version"], Path::new("")).is_err() {
        eprintln!("skipped: systemd-analyze is not installed");
        return;
    }
    let dir = tempdir().unwrap();
    let mut seen = 0;
    for entry in fs::read_dir(units()).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("\nExecStart=/usr/bin/banter serve "),
            "{text}"
        );
        // It looks for the program, which is not installed here.
        let text = text.replace("/usr/bin/banter", env!("CARGO_BIN_EXE_banter"));
        let name = path.file_name().unwrap().to_str().unwrap();
        let unit = dir.path().join(name.replace("@.", "@8080."));
        fs::write(&unit, text).unwrap();
        let output = analyze(&["verify"], &unit).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{name}: {said}");
        let output = analyze(&["security", "--offline=true"], &unit).unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let level = said.lines().find_map(|line| {
            line.split("Overall exposure level")
                .nth(1)?
                .split(':')
                .nth(1)
        });
        let level = level.unwrap_or_else(|| panic!("{name}: {said}"));
        let level: f32 = level.split_whitespace().next().unwrap().parse().unwrap();
        assert!(level <= EXPOSURE_MAX, "{name}: {level}");
        seen += 1;
    }
    assert_eq!(seen, 3);
}
