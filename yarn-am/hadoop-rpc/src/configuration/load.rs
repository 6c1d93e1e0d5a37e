//! Reads `…-site.xml` files into properties.
//!
//! The files may come from anybody's hands, so everything is bounded: their sizes, how many are included and how deep. Document
//! types are refused, and with them entities that grow.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use roxmltree::{Document, Node};

use super::deprecated::canonical;
use super::error::{ConfigurationError, Origin};
use super::{Properties, Property};

/// The most bytes of one file.
const MAX_BYTES: u64 = 8 * 1024 * 1024;
/// The most nodes of one file: XML of many empty elements takes far more memory than bytes.
const MAX_NODES: u32 = 1_000_000;
/// How deep files may include files.
const MAX_INCLUDE_DEPTH: usize = 10;
/// How many files may be included in all.
const MAX_INCLUDES: usize = 100;
/// How deep elements that only group others may be nested.
const MAX_NESTING: usize = 32;

const XINCLUDE: &str = "http://www.w3.org/2001/XInclude";

/// Reads files one after the other; of a property, the last value counts, unless an earlier one is final.
#[derive(Default)]
pub(super) struct Loader {
    pub(super) properties: Properties,
    includes: usize,
}

/// A file that is being read.
#[derive(Clone, Copy)]
struct Place<'a> {
    path: &'a Arc<PathBuf>,
    include_depth: usize,
    nesting: usize,
}

impl Loader {
    /// Adds what a file says; one that is not there says nothing.
    pub(super) fn add_file(&mut self, path: &Path) -> Result<(), ConfigurationError> {
        match read(path) {
            Err(ConfigurationError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(())
            }
            read => self.add_text(&read?, &Arc::new(path.to_owned()), 0),
        }
    }

    fn add_text(
        &mut self,
        text: &str,
        path: &Arc<PathBuf>,
        include_depth: usize,
    ) -> Result<(), ConfigurationError> {
        let options = roxmltree::ParsingOptions { nodes_limit: MAX_NODES, ..Default::default() };
        let document = Document::parse_with_options(text, options).map_err(|error| {
            let line = error.pos().row;
            let why = match error {
                roxmltree::Error::DtdDetected => {
                    "it has a document type (<!DOCTYPE …>), which is not read; write its entities' values out"
                        .to_owned()
                }
                error => format!("it is not well-formed XML: {error}"),
            };
            let origin = Origin::File(path.clone(), line);
            ConfigurationError::Malformed { origin, why }
        })?;
        let root = document.root_element();
        let place = Place { path, include_depth, nesting: 0 };
        if root.tag_name().name() != "configuration" {
            let why = format!("it starts with <{}>, but <configuration> is needed", root.tag_name().name());
            return Err(malformed(place, root, why));
        }
        self.add_children(root, place)
    }

    fn add_children(&mut self, parent: Node<'_, '_>, place: Place<'_>) -> Result<(), ConfigurationError> {
        if place.nesting > MAX_NESTING {
            let why = format!("elements are nested more than {MAX_NESTING} deep");
            return Err(malformed(place, parent, why));
        }
        let inside = Place { nesting: place.nesting + 1, ..place };
        for node in parent.children().filter(Node::is_element) {
            match (node.tag_name().namespace(), node.tag_name().name()) {
                (Some(XINCLUDE), "include") => self.include(node, inside)?,
                (_, "property") => self.add_property(node, place),
                (_, "configuration") => self.add_children(node, inside)?,
                // What Hadoop does not know it passes over.
                _ => {}
            }
        }
        Ok(())
    }

    fn add_property(&mut self, node: Node<'_, '_>, place: Place<'_>) {
        let part = |name: &str| {
            let element = node.children().find(|child| child.tag_name().name() == name);
            let text = |element: Node<'_, '_>| {
                element.children().filter(Node::is_text).filter_map(|text| text.text()).collect::<String>()
            };
            let found = element.map(text).or_else(|| node.attribute(name).map(str::to_owned))?;
            Some(found.trim().to_owned())
        };
        // As in Hadoop, a property without a name or a value is none.
        let (Some(name), Some(value)) = (part("name").filter(|name| !name.is_empty()), part("value")) else {
            return;
        };
        let name = canonical(&name).to_owned();
        if self.properties.get(&name).is_some_and(|before| before.is_final) {
            return;
        }
        let origin = Origin::File(place.path.clone(), line_of(node));
        let is_final = part("final").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        self.properties.insert(name, Property { value, origin, is_final });
    }

    fn include(&mut self, node: Node<'_, '_>, place: Place<'_>) -> Result<(), ConfigurationError> {
        let href = node.attribute("href").map(str::trim).filter(|href| !href.is_empty());
        let Some(href) = href else {
            return Err(malformed(place, node, "an include without href".to_owned()));
        };
        if node.attribute("parse").is_some_and(|parse| parse != "xml") {
            let why = format!("'{href}' is included as other than XML; leave out the attribute parse");
            return Err(malformed(place, node, why));
        }
        let file = href.strip_prefix("file://").or_else(|| href.strip_prefix("file:")).unwrap_or(href);
        if file.contains("://") {
            return Err(malformed(place, node, format!("'{href}' is included, but only files can be")));
        }
        if place.include_depth == MAX_INCLUDE_DEPTH || self.includes == MAX_INCLUDES {
            let why = format!(
                "more than {MAX_INCLUDES} files are included, or more than {MAX_INCLUDE_DEPTH} deep; does '{href}' \
                 include itself?"
            );
            return Err(malformed(place, node, why));
        }
        self.includes += 1;
        let folder = place.path.parent().unwrap_or(Path::new("."));
        let included = Arc::new(folder.join(file));
        let fallback = node.children().find(|child| {
            child.tag_name().namespace() == Some(XINCLUDE) && child.tag_name().name() == "fallback"
        });
        match (read(&included), fallback) {
            (Ok(text), _) => self.add_text(&text, &included, place.include_depth + 1),
            (Err(ConfigurationError::Read { .. }), Some(fallback)) => self.add_children(fallback, place),
            (Err(ConfigurationError::Read { path, source, .. }), None) => {
                let by = Some(Origin::File(place.path.clone(), line_of(node)));
                Err(ConfigurationError::Read { path, by, source })
            }
            (Err(error), _) => Err(error),
        }
    }
}

fn line_of(node: Node<'_, '_>) -> u32 {
    node.document().text_pos_at(node.range().start).row
}

fn malformed(place: Place<'_>, node: Node<'_, '_>, why: String) -> ConfigurationError {
    ConfigurationError::Malformed { origin: Origin::File(place.path.clone(), line_of(node)), why }
}

fn read(path: &Path) -> Result<String, ConfigurationError> {
    let failed = |source| ConfigurationError::Read { path: path.to_owned(), by: None, source };
    let mut text = String::new();
    // One byte more than may be, to tell that there is more.
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(ConfigurationError::TooLarge { path: path.to_owned(), limit: MAX_BYTES });
    }
    Ok(text)
}
