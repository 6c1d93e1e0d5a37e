//! Options of several letters behind one dash, as Flink's command line has them: `-yjm 1g`, `-sae`. Each is one of the long options of the
//! table; here it only gets its second dash.

use clap::{ArgAction, Command};

/// The long options by what stands behind the one dash; in the commands that start programs or ask for a cluster.
const OF_RUN: &[(&str, &str)] = &[
    ("cm", "claimMode"),
    ("sae", "shutdownOnAttachedExit"),
    ("yid", "yarnapplicationId"),
    ("yjm", "yarnjobManagerMemory"),
    ("ytm", "yarntaskManagerMemory"),
    ("ys", "yarnslots"),
    ("yqu", "yarnqueue"),
    ("ynm", "yarnname"),
    ("yat", "yarnapplicationType"),
    ("ynl", "yarnnodeLabel"),
    ("yt", "yarnship"),
    ("yj", "yarnjar"),
    ("yq", "yarnquery"),
    ("yh", "yarnhelp"),
    ("yz", "yarnzookeeperNamespace"),
    ("yd", "yarndetached"),
    ("yn", "yarncontainer"),
    ("yD", "yarnproperty"),
];

/// The same in `yarn-session`.
const OF_SESSION: &[(&str, &str)] = &[
    ("sae", "shutdownOnAttachedExit"),
    ("id", "applicationId"),
    ("jm", "jobManagerMemory"),
    ("tm", "taskManagerMemory"),
    ("qu", "queue"),
    ("nm", "name"),
    ("at", "applicationType"),
    ("nl", "nodeLabel"),
];

/// The command line with two dashes before long options. What follows a program is the program's and stays as it is.
pub(crate) fn with_two_dashes(mut line: Vec<String>, table: &Command) -> Vec<String> {
    let Some(command) = line.get(1).and_then(|name| table.find_subcommand(name)) else { return line };
    let known = match command.get_name() {
        "yarn-session" => OF_SESSION,
        "run" | "run-application" | "info" | "list" | "cancel" | "web" | "log-level" => OF_RUN,
        _ => return line,
    };
    let has_program = command.get_arguments().any(clap::Arg::is_trailing_var_arg_set);
    let mut at = 2;
    while at < line.len() {
        let word = line[at].clone();
        let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) else {
            if has_program {
                break;
            }
            at += 1;
            continue;
        };
        if name == "-" {
            break;
        }
        // `-yDkey=value` is what Flink's users write; no other option swallows its value.
        let glued = name.strip_prefix("yD").filter(|rest| !rest.is_empty());
        if let Some(value) = glued.filter(|_| command.get_name() != "yarn-session") {
            line[at] = format!("--yarnproperty={value}");
        } else if let Some((_, long)) = known.iter().find(|(short, _)| *short == name) {
            line[at] = format!("--{long}");
        } else if let Some(first) = name.chars().next()
            && name.len() > first.len_utf8()
            && takes_next(&format!("-{first}"), command)
        {
            // Before a program the parser knows a value only as a word of its own: -Dkey=value, -p4.
            let value = name[first.len_utf8()..].to_owned();
            line.splice(at..=at, [format!("-{first}"), value]);
        }
        at += if takes_next(&line[at], command) { 2 } else { 1 };
    }
    line
}

/// Whether an option's value is the word behind it.
fn takes_next(word: &str, command: &Command) -> bool {
    let takes_value =
        |argument: &clap::Arg| matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
    let find = |fits: &dyn Fn(&clap::Arg) -> bool| command.get_arguments().find(|argument| fits(argument));
    if let Some(long) = word.strip_prefix("--") {
        let is_it = |argument: &clap::Arg| {
            argument.get_long() == Some(long)
                || argument.get_all_aliases().is_some_and(|aliases| aliases.contains(&long))
        };
        return !long.contains('=') && find(&is_it).is_some_and(takes_value);
    }
    let mut letters = word.chars().skip(1);
    let first = letters.next();
    let is_it = |argument: &clap::Arg| argument.get_short() == first;
    letters.next().is_none() && find(&is_it).is_some_and(takes_value)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::arguments::Arguments;

    fn translated(line: &str) -> String {
        let mut table = Arguments::command();
        table.build();
        let line = line.split(' ').map(str::to_owned).collect();
        with_two_dashes(line, &table).join(" ")
    }

    #[test]
    fn one_dash_becomes_two_before_the_program() {
        assert_eq!(
            translated("flott run -m yarn-cluster -yjm 1g -ys 2 -yd -p 3 -yDa=b prog -yjm 2 -sae"),
            "flott run -m yarn-cluster --yarnjobManagerMemory 1g --yarnslots 2 --yarndetached -p 3 --yarnproperty=a=b prog -yjm 2 -sae"
        );
        assert_eq!(
            translated("flott yarn-session -jm 1g -tm 2g -s 2 -qu q -d"),
            "flott yarn-session --jobManagerMemory 1g --taskManagerMemory 2g -s 2 --queue q -d"
        );
    }

    #[test]
    fn values_of_letters_become_words_of_their_own() {
        assert_eq!(
            translated("flott run -Da.b=-yd -p4 -d -sae prog -Dx=y -p4"),
            "flott run -D a.b=-yd -p 4 -d --shutdownOnAttachedExit prog -Dx=y -p4"
        );
        assert_eq!(translated("flott yarn-session -Da=b -s2 -d"), "flott yarn-session -D a=b -s 2 -d");
    }

    #[test]
    fn every_command_that_asks_for_a_cluster_takes_the_sessions_id() {
        for command in ["list", "cancel", "web", "log-level"] {
            let line = translated(&format!("flott {command} -yid application_1_0001"));
            assert_eq!(line, format!("flott {command} --yarnapplicationId application_1_0001"));
            let behind = translated(&format!("flott {command} what -yid application_1_0001 -yz a"));
            let expected = "what --yarnapplicationId application_1_0001 --yarnzookeeperNamespace a";
            assert_eq!(behind, format!("flott {command} {expected}"));
        }
    }

    #[test]
    fn values_and_other_commands_stay_as_they_are() {
        for line in [
            "flott run -D x=-yjm -ynm2 prog",
            "flott run -- -yjm",
            "flott",
            "flott completions -yjm",
            "flott nonsense -yd",
        ] {
            assert_eq!(translated(line), line);
        }
        // The value of an option is no option.
        assert_eq!(translated("flott run -m -yd prog"), "flott run -m -yd prog");
    }
}
