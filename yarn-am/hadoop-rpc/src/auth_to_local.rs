//! Which user of the operating system a Kerberos principal is: `hadoop.security.auth_to_local`.
//!
//! ```text
//! rules  = (rule white space)*
//! rule   = "DEFAULT" | "RULE:[" n ":" format "]" ["(" match ")"] ["s/" pattern "/" replacement "/" ["g"]] ["/L"]
//! ```
//!
//! The first rule that fits decides. `DEFAULT` takes the first component of a principal of the own realm. A `RULE` is for principals of
//! n components; `$0` in its format is the realm, `$1` the first component; the text so made must match as a whole.
//!
//! ```
//! use hadoop_rpc::auth_to_local::Rules;
//!
//! let rules = Rules::parse("RULE:[2:$1@$0](nn@EXAMPLE.ORG)s/.*/hdfs/ DEFAULT")?;
//! assert_eq!(rules.short_name("nn/host@EXAMPLE.ORG", "EXAMPLE.ORG")?, "hdfs");
//! assert_eq!(rules.short_name("alice@EXAMPLE.ORG", "EXAMPLE.ORG")?, "alice");
//! assert!(rules.short_name("alice@ELSEWHERE", "EXAMPLE.ORG").is_err());
//! # Ok::<(), hadoop_rpc::auth_to_local::RuleError>(())
//! ```

use regex::{Captures, Regex, RegexBuilder};

use crate::configuration::Configuration;

/// The key of the rules.
const KEY: &str = "hadoop.security.auth_to_local";

/// How much memory a pattern may take: a short one can ask for any amount.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// Why a principal has no short name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A rule that cannot be read.
    #[error("hadoop.security.auth_to_local has a rule that cannot be read, at '{rule}': {reason}")]
    Malformed {
        /// From here on.
        rule: String,
        /// What is wrong.
        reason: String,
    },
    /// No rule fits.
    #[error("no rule of hadoop.security.auth_to_local fits the principal {principal}")]
    NoRule {
        /// Whose name was wanted.
        principal: String,
    },
    /// A rule gives what cannot be a user's name.
    #[error(
        "a rule of hadoop.security.auth_to_local makes the name '{name}' of {principal}; a name has no @ and no /"
    )]
    NotShort {
        /// Whose name was wanted.
        principal: String,
        /// What came of it.
        name: String,
    },
}

/// The rules, in their order.
#[derive(Debug, Clone)]
pub struct Rules {
    rules: Vec<Rule>,
    /// Whether the mechanism is `mit`: any name is one, and a principal that no rule fits is its own.
    lenient: bool,
}

#[derive(Debug, Clone)]
enum Rule {
    Default,
    Made(Box<Made>),
}

/// A rule with a format.
#[derive(Debug, Clone)]
struct Made {
    components: usize,
    format: String,
    matches: Option<Regex>,
    substitution: Option<Substitution>,
    lower: bool,
}

#[derive(Debug, Clone)]
struct Substitution {
    pattern: Regex,
    replacement: String,
    everywhere: bool,
}

/// A principal in its parts.
struct Principal<'a> {
    realm: Option<&'a str>,
    components: Vec<&'a str>,
}

impl<'a> Principal<'a> {
    fn of(text: &'a str) -> Self {
        let (name, realm) = match text.rsplit_once('@') {
            Some((name, realm)) => (name, Some(realm)),
            None => (text, None),
        };
        Self { realm, components: name.split('/').collect() }
    }
}

impl Rules {
    /// Those of a configuration; `DEFAULT` alone where it has none.
    ///
    /// # Errors
    /// [`RuleError::Malformed`].
    pub fn of(configuration: &Configuration) -> Result<Self, RuleError> {
        let mut rules = Self::parse(&configuration.get_or(KEY, "DEFAULT"))?;
        let mechanism = configuration.get_or("hadoop.security.auth_to_local.mechanism", "hadoop");
        rules.lenient = mechanism.eq_ignore_ascii_case("mit");
        Ok(rules)
    }

    /// Reads rules.
    ///
    /// # Errors
    /// [`RuleError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let mut rules = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (rule, after) = Rule::parse(rest)
                .map_err(|reason| RuleError::Malformed { rule: rest.chars().take(80).collect(), reason })?;
            rules.push(rule);
            rest = after.trim_start();
        }
        Ok(Self { rules, lenient: false })
    }

    /// The short name of a principal. One without a realm and a second component is one already.
    ///
    /// # Errors
    /// [`RuleError::NoRule`] or [`RuleError::NotShort`].
    pub fn short_name(&self, principal: &str, default_realm: &str) -> Result<String, RuleError> {
        let parts = Principal::of(principal);
        if let (None, [only]) = (parts.realm, &parts.components[..]) {
            return Ok((*only).to_owned());
        }
        let found = self.rules.iter().find_map(|rule| rule.apply(&parts, default_realm));
        match found {
            Some(name) if !self.lenient && (name.is_empty() || name.contains(['@', '/'])) => {
                Err(RuleError::NotShort { principal: principal.to_owned(), name })
            }
            Some(name) => Ok(name),
            None if self.lenient => Ok(principal.to_owned()),
            None => Err(RuleError::NoRule { principal: principal.to_owned() }),
        }
    }
}

impl Rule {
    /// Reads one rule, and says what follows it.
    fn parse(text: &str) -> Result<(Self, &str), String> {
        let (mut rule, rest) = if let Some(rest) = text.strip_prefix("DEFAULT") {
            (Self::Default, rest)
        } else if let Some(rest) = text.strip_prefix("RULE:[") {
            let (made, rest) = Made::parse(rest)?;
            (Self::Made(Box::new(made)), rest)
        } else {
            return Err("it begins with neither RULE:[ nor DEFAULT".to_owned());
        };
        // As Hadoop reads it, `L` may end any rule, with or without a slash, and says nothing of DEFAULT.
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        let (lower, rest) = match rest.strip_prefix('L') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        if let Self::Made(made) = &mut rule {
            made.lower = lower;
        }
        Ok((rule, rest))
    }

    fn apply(&self, principal: &Principal<'_>, default_realm: &str) -> Option<String> {
        match self {
            Self::Default => {
                let own = principal.realm.is_none_or(|realm| realm == default_realm);
                own.then(|| principal.components[0].to_owned())
            }
            Self::Made(made) => made.apply(principal, default_realm),
        }
    }
}

/// What stands before `end`, and what after it.
fn until<'a>(text: &'a str, end: char, what: &str) -> Result<(&'a str, &'a str), String> {
    text.split_once(end).ok_or_else(|| format!("its {what} does not end with {end}"))
}

fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).size_limit(MAX_PATTERN_BYTES).build().map_err(|error| {
        let error = error.to_string();
        let last = error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        format!("the pattern '{pattern}' cannot be used: {last}")
    })
}

impl Made {
    fn parse(text: &str) -> Result<(Self, &str), String> {
        let (head, mut rest) = until(text, ']', "format")?;
        let (count, format) = head.split_once(':').ok_or("its number of components has no : behind it")?;
        let components = count.parse().map_err(|_| format!("'{count}' is no number of components"))?;
        let mut matches = None;
        if let Some(inner) = rest.strip_prefix('(') {
            let (pattern, after) = until(inner, ')', "condition")?;
            matches = Some(compile(&format!("^(?:{pattern})$"))?);
            rest = after;
        }
        let mut substitution = None;
        if let Some(inner) = rest.strip_prefix("s/") {
            let (pattern, after) = until(inner, '/', "pattern")?;
            let (replacement, after) = until(after, '/', "replacement")?;
            let everywhere = after.starts_with('g');
            rest = after.strip_prefix('g').unwrap_or(after);
            let pattern = compile(pattern)?;
            substitution = Some(Substitution { pattern, replacement: replacement.to_owned(), everywhere });
        }
        let made = Self { components, format: format.to_owned(), matches, substitution, lower: false };
        made.check_format()?;
        Ok((made, rest))
    }

    /// A format that names a component there is not would never fit.
    fn check_format(&self) -> Result<(), String> {
        let names = vec![""; self.components];
        self.fill(&Principal { realm: Some(""), components: names }, "").map(|_| ()).ok_or_else(|| {
            format!(
                "its format '{}' names what a principal of {} does not have",
                self.format, self.components
            )
        })
    }

    /// The format with a principal's parts in it.
    fn fill(&self, principal: &Principal<'_>, default_realm: &str) -> Option<String> {
        let mut filled = String::new();
        let mut rest = self.format.as_str();
        while let Some((before, after)) = rest.split_once('$') {
            filled.push_str(before);
            let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, after) = after.split_at(digits);
            let part = match number.parse::<usize>().ok()? {
                0 => principal.realm.unwrap_or(default_realm),
                n => principal.components.get(n - 1)?,
            };
            filled.push_str(part);
            rest = after;
        }
        filled.push_str(rest);
        Some(filled)
    }

    fn apply(&self, principal: &Principal<'_>, default_realm: &str) -> Option<String> {
        if principal.components.len() != self.components {
            return None;
        }
        let base = self.fill(principal, default_realm)?;
        if self.matches.as_ref().is_some_and(|matches| !matches.is_match(&base)) {
            return None;
        }
        let name = match &self.substitution {
            None => base,
            Some(Substitution { pattern, replacement, everywhere }) => {
                let limit = usize::from(!everywhere);
                let with = |found: &Captures<'_>| replaced(replacement, found);
                pattern.replacen(&base, limit, with).into_owned()
            }
        };
        Some(if self.lower { name.to_lowercase() } else { name })
    }
}

/// A replacement as Java reads it: `$1` is a group, `\` makes the next character stand for itself.
fn replaced(replacement: &str, found: &Captures<'_>) -> String {
    let mut text = String::new();
    let mut rest = replacement.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '\\' => text.extend(rest.next()),
            '$' => {
                let mut group = None;
                while let Some(digit) = rest.peek().and_then(|c| c.to_digit(10)) {
                    let longer = group.unwrap_or(0) * 10 + digit as usize;
                    // The number is as long as there are groups.
                    if group.is_some() && longer >= found.len() {
                        break;
                    }
                    group = Some(longer);
                    rest.next();
                }
                text.push_str(group.and_then(|n| found.get(n)).map_or("", |group| group.as_str()));
            }
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use flott_fuzz::Decoder;
    use proptest::prelude::*;

    use super::*;

    const REALM: &str = "EXAMPLE.ORG";

    fn name(rules: &str, principal: &str) -> Option<String> {
        Rules::parse(rules).unwrap().short_name(principal, REALM).ok()
    }

    fn is(rules: &str, principal: &str, expected: &str) {
        assert_eq!(name(rules, principal).as_deref(), Some(expected), "{rules} of {principal}");
    }

    #[test]
    fn the_default_takes_the_first_component_of_the_own_realm() {
        is("DEFAULT", "alice@EXAMPLE.ORG", "alice");
        is("DEFAULT", "alice/admin@EXAMPLE.ORG", "alice");
        is("DEFAULT", "alice/admin", "alice");
        is("", "alice", "alice");
        assert_eq!(name("DEFAULT", "alice@ELSEWHERE"), None);
        assert_eq!(name("", "alice@EXAMPLE.ORG"), None);
    }

    #[test]
    fn rules_fit_by_their_components_and_condition_the_first_one_first() {
        let rules = r"
            RULE:[1:$1@$0](.*@OTHER\.ORG)s/@.*//
            RULE:[2:$1@$0]([ndjr][nm]@EXAMPLE.ORG)s/.*/root/
            RULE:[2:$1;$2](^.*;admin$)s/;admin$//
            RULE:[1:$1](Al.*)s/l/L/g/L
            DEFAULT";
        is(rules, "bob@OTHER.ORG", "bob");
        is(rules, "nn/host@EXAMPLE.ORG", "root");
        is(rules, "carol/admin@EXAMPLE.ORG", "carol");
        is(rules, "Allie@EXAMPLE.ORG", "allie");
        is(rules, "dora/host@EXAMPLE.ORG", "dora");
        assert_eq!(name(rules, "dora/host@OTHER.ORG"), None);
    }

    #[test]
    fn substitutions_are_javas() {
        is("RULE:[1:$1@$0]s/(.)(.*)@.*/$2$1x/", "alice@R", "liceax");
        is("RULE:[1:$1@$0]s/@.*/\\$1/", "alice@R", "alice$1");
        is("RULE:[1:$1]s/a/b/", "banana@R", "bbnana");
        is("RULE:[1:$1]s/a/b/g", "banana@R", "bbnbnb");
        is("RULE:[1:$1]/L", "ALICE@R", "alice");
        for lower in ["L", "/L", "s/x/y/L", "s/x/y//L", "s/x/y/gL", "s/x/y/g/L", "s/x/y/LDEFAULT"] {
            is(&format!("RULE:[1:$1]{lower}"), "ALICE@R", "alice");
        }
        is("DEFAULT/L", "ALICE@EXAMPLE.ORG", "ALICE");
        is("RULE:[2:$1]s/x/y/ RULE:[1:$1]s/A/B//DEFAULT", "ALICE@R", "BLICE");
        is("RULE:[1:$0]", "alice", "alice");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let rules = Rules::parse("RULE:[1:$1@$0]").unwrap();
        assert!(matches!(rules.short_name("a@B", REALM), Err(RuleError::NotShort { .. })));
        let mut mit = Configuration::new();
        mit.set(KEY, "RULE:[1:$1@$0]");
        mit.set("hadoop.security.auth_to_local.mechanism", "MIT");
        assert_eq!(Rules::of(&mit).unwrap().short_name("a@B", REALM).unwrap(), "a@B");
        assert_eq!(Rules::of(&mit).unwrap().short_name("a/b@C", REALM).unwrap(), "a/b@C");
    }

    #[test]
    fn what_is_wrong_with_a_rule_is_said() {
        for (rules, why) in [
            ("RULE", "neither RULE:[ nor DEFAULT"),
            ("RULE:[1:$1", "its format does not end with ]"),
            ("RULE:[x:$1]", "'x' is no number of components"),
            ("RULE:[1:$2]", "names what a principal of 1 does not have"),
            ("RULE:[1:$1](a", "its condition does not end with )"),
            ("RULE:[1:$1](?)", "cannot be used"),
            ("RULE:[1:$1]s/a/b", "its replacement does not end with /"),
            ("RULE:[1:$1]s/a/b/x", "at 'x'"),
            ("DEFAULT/LL", "neither RULE:[ nor DEFAULT"),
        ] {
            let error = Rules::parse(rules).unwrap_err().to_string();
            assert!(error.contains(why), "{rules}: {error}");
        }
    }

    #[test]
    fn fuzz_configuration_auth_to_local() {
        let rules = "RULE:[2:$1@$0]([nd]n@.*EXAMPLE.ORG)s/.*/root/ RULE:[1:$1](Al.*)s/l/L/g/L DEFAULT";
        Decoder::new("rules of auth_to_local")
            .sample(format!("{rules}\nnn/host@EXAMPLE.ORG"))
            .sample("RULE:[1:$1@$0]s/(.)(.*)@.*/$2$1x/\nalice@R")
            .words(&[
                "RULE:[", "DEFAULT", "$0", "$2", "]", "(", ")", "s/", "/g", "/L", "\\", ".*", "{99}", "@",
                "\n",
            ])
            .may_hold(4 << 20)
            .text(|text| {
                let (rules, principal) = text.rsplit_once('\n').unwrap_or((text, "a/b@C"));
                if let Ok(rules) = Rules::parse(rules)
                    && let Ok(name) = rules.short_name(principal, REALM)
                    && principal.contains(['@', '/'])
                {
                    assert!(!name.is_empty() && !name.contains(['@', '/']), "{name}");
                }
            });
    }

    proptest! {
        #[test]
        fn the_default_gives_the_name_of_everybody_of_the_realm(user in "[a-z][a-z0-9_-]{0,15}", host in "[a-z]{0,8}") {
            let principal = if host.is_empty() { format!("{user}@{REALM}") } else { format!("{user}/{host}@{REALM}") };
            prop_assert_eq!(name("DEFAULT", &principal), Some(user));
        }
    }
}
