//! The manual and the completions, from the same table as the help.

use std::io::{self, Write};

use clap::CommandFactory;

use crate::arguments::Arguments;
use crate::{CommandError, Ended};

/// Prints the man page: the command, then each of its subcommands.
pub(crate) fn manual() -> Result<Ended, CommandError> {
    let command = Arguments::command();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        let name = format!("flott-{}", subcommand.get_name());
        let man = clap_mangen::Man::new(subcommand.clone().display_name(name));
        man.render_synopsis_section(&mut page)?;
        man.render_description_section(&mut page)?;
        man.render_options_section(&mut page)?;
    }
    io::stdout().write_all(&page)?;
    Ok(Ended::Well)
}

/// Prints completions.
pub(crate) fn completions(shell: clap_complete::Shell) -> Result<Ended, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "flott", &mut script);
    io::stdout().write_all(&script)?;
    Ok(Ended::Well)
}
