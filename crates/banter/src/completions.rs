//! `banter completions`: scripts that let shells complete our commands.

use anyhow::Result;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::print;

/// Print a script that lets your shell complete banter's commands
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banter completions bash > ~/.local/share/bash-completion/completions/banter
  banter completions zsh > \"${fpath[1]}/_banter\"
  banter completions fish > ~/.config/fish/completions/banter.fish")]
pub(crate) struct Completions {
    /// Your shell
    shell: Shell,
}

impl Completions {
    /// Prints the script.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(crate) fn run(&self) -> Result<()> {
        let mut script = Vec::new();
        let mut command = crate::Banter::command();
        clap_complete::generate(self.shell, &mut command, "banter", &mut script);
        print(&script)
    }
}
