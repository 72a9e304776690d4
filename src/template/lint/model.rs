//! A template as the rules see it, the same for all languages: what is written where, without evaluating it. Values that
//! follow from the text alone are worked out (variables by their defaults, locals, `path.root`); everything else is a
//! [`Hole`] that knows what it depends on.

use crate::domain::diagnostic::{Diagnostic, Position, SourceLocation};
use crate::template::source::SourceFile;

/// A range of bytes of one of the model's files, end exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Place {
    pub file: usize,
    pub start: usize,
    pub end: usize,
}

/// A value as it is written.
#[derive(Debug, Clone)]
pub struct Value {
    pub place: Place,
    pub kind: Kind,
}

#[derive(Debug, Clone)]
pub enum Kind {
    Null,
    Bool(bool),
    /// A string or a number.
    Text(Text),
    List(Vec<Value>),
    Map(Vec<Entry>),
    Unknown(Hole),
}

/// A named value; a nested block is one, too.
#[derive(Debug, Clone)]
pub struct Entry {
    pub key: String,
    pub key_place: Place,
    pub value: Value,
}

/// A string in pieces.
#[derive(Debug, Clone, Default)]
pub struct Text {
    pub pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
pub enum Piece {
    /// Final text, and the raw text it comes from, which differs where there are escapes. `via` is where it is used,
    /// when it is written elsewhere: as the default of a variable.
    Literal {
        text: String,
        place: Place,
        via: Option<Use>,
    },
    Hole(Place, Hole),
}

/// Where a variable's text is used.
#[derive(Debug, Clone)]
pub struct Use {
    pub place: Place,
    pub variable: String,
}

/// What is not known from the text.
#[derive(Debug, Clone, Default)]
pub struct Hole {
    /// Whether it may differ from run to run: it depends on the time, a file, a data source or a value that the run gives.
    pub changes: bool,
    /// Whether it depends on a variable or local that is marked sensitive or named like a secret.
    pub secret: bool,
    /// Names of variables that it depends on.
    pub variables: Vec<String>,
    /// What it is made of, as far as that is known.
    pub parts: Vec<Value>,
}

/// A source, data source, provisioner or post-processor.
#[derive(Debug, Clone)]
pub struct Component {
    /// `amazon-ebs`, `shell`, `manifest`.
    pub kind: String,
    /// A source's name in `type.name`, a JSON builder's name.
    pub name: String,
    /// Where its type stands.
    pub at: Place,
    /// The whole of it.
    pub extent: Place,
    pub options: Vec<Entry>,
}

/// A `build` block, or a whole JSON template.
#[derive(Debug, Clone, Default)]
pub struct Build {
    pub at: Place,
    /// Which of the model's sources it uses.
    pub sources: Vec<usize>,
    /// Also the one for errors, last.
    pub provisioners: Vec<Component>,
    pub post_processors: Vec<Component>,
    /// Whether it has `dynamic` blocks of that kind, or others whose content is not known.
    pub dynamic: Vec<String>,
}

/// A variable with its default, or a local.
#[derive(Debug, Clone)]
pub struct Variable {
    pub name: String,
    pub at: Place,
    pub value: Option<Value>,
    pub sensitive: bool,
    pub local: bool,
}

/// Which language the template is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    #[default]
    Hcl2,
    LegacyJson,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Model {
    pub language: Language,
    /// The template's files first, then other files of the bundle as rules look at them.
    pub files: Vec<SourceFile>,
    /// How many of the files are the template's own.
    pub template_files: usize,
    pub variables: Vec<Variable>,
    /// With what build blocks add to them.
    pub sources: Vec<Component>,
    pub data: Vec<Component>,
    pub builds: Vec<Build>,
    /// The root of a legacy JSON template, or where the first block stands.
    pub at: Option<Place>,
}

impl Model {
    #[must_use]
    pub fn location(&self, place: Place) -> SourceLocation {
        self.files[place.file].location(place.start)
    }

    /// Whether a location lies in a place.
    #[must_use]
    pub fn holds(&self, place: Place, location: &SourceLocation) -> bool {
        let end = Place { start: place.end, ..place };
        location.file == self.files[place.file].path
            && self.location(place) <= *location
            && *location < self.location(end)
    }

    #[must_use]
    pub fn raw(&self, place: Place) -> &str {
        self.files[place.file].text.get(place.start..place.end).unwrap_or_default()
    }

    /// Puts a complaint at a place. A range over several lines is cut at the end of the first.
    #[must_use]
    pub fn locate(&self, diagnostic: Diagnostic, place: Place) -> Diagnostic {
        let file = &self.files[place.file];
        let first_line_end = file.line_start(place.start) + file.line_at(place.start).len();
        let end = file.location(place.end.min(first_line_end).max(place.start));
        let end = Position { line: end.line, column: end.column };
        diagnostic.at(Some(file.location(place.start))).until(Some(end))
    }
}

impl Value {
    #[must_use]
    pub fn unknown(place: Place, hole: Hole) -> Self {
        Self { place, kind: Kind::Unknown(hole) }
    }

    #[must_use]
    pub fn literal(text: &str, place: Place) -> Self {
        let piece = Piece::Literal { text: text.to_owned(), place, via: None };
        Self { place, kind: Kind::Text(Text { pieces: vec![piece] }) }
    }

    /// The text, when all of it is known. A bool is `true` or `false`.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match &self.kind {
            Kind::Text(text) => text.known(),
            Kind::Bool(flag) => Some(flag.to_string()),
            _ => None,
        }
    }

    /// The elements of a list; a single text is a list of one, as for Packer. `None` when it is not known.
    #[must_use]
    pub fn items(&self) -> Option<&[Value]> {
        match &self.kind {
            Kind::List(items) => Some(items),
            Kind::Text(_) => Some(std::slice::from_ref(self)),
            _ => None,
        }
    }

    #[must_use]
    pub fn entries(&self) -> Option<&[Entry]> {
        match &self.kind {
            Kind::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// Whether it says the same as leaving it out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match &self.kind {
            Kind::Null => true,
            Kind::Text(text) => text.pieces.is_empty() || text.known().is_some_and(|text| text.is_empty()),
            Kind::List(items) => items.is_empty(),
            Kind::Map(entries) => entries.is_empty(),
            Kind::Bool(_) | Kind::Unknown(_) => false,
        }
    }

    /// Whether it may differ from run to run.
    #[must_use]
    pub fn changes(&self) -> bool {
        match &self.kind {
            Kind::Null | Kind::Bool(_) => false,
            Kind::Text(text) => text.pieces.iter().any(|piece| matches!(piece, Piece::Hole(_, hole) if hole.changes)),
            Kind::List(items) => items.iter().any(Self::changes),
            Kind::Map(entries) => entries.iter().any(|entry| entry.value.changes()),
            Kind::Unknown(hole) => hole.changes,
        }
    }

    /// Shows every literal text in it, those that a hole is made of included.
    pub fn literals<'v>(&'v self, see: &mut dyn FnMut(&'v str, Place)) {
        match &self.kind {
            Kind::Null | Kind::Bool(_) => {}
            Kind::Text(text) => {
                for piece in &text.pieces {
                    match piece {
                        Piece::Literal { text, place, .. } => see(text, *place),
                        Piece::Hole(_, hole) => hole.parts.iter().for_each(|part| part.literals(see)),
                    }
                }
            }
            Kind::List(items) => items.iter().for_each(|item| item.literals(see)),
            Kind::Map(entries) => entries.iter().for_each(|entry| entry.value.literals(see)),
            Kind::Unknown(hole) => hole.parts.iter().for_each(|part| part.literals(see)),
        }
    }

    /// Shows every text in it.
    pub fn texts<'v>(&'v self, see: &mut dyn FnMut(&'v Text, Place)) {
        match &self.kind {
            Kind::Null | Kind::Bool(_) => {}
            Kind::Text(text) => see(text, self.place),
            Kind::List(items) => items.iter().for_each(|item| item.texts(see)),
            Kind::Map(entries) => entries.iter().for_each(|entry| entry.value.texts(see)),
            Kind::Unknown(hole) => hole.parts.iter().for_each(|part| part.texts(see)),
        }
    }
}

impl Text {
    /// The text, when all of it is known.
    #[must_use]
    pub fn known(&self) -> Option<String> {
        let literal = |piece: &Piece| match piece {
            Piece::Literal { text, .. } => Some(text.clone()),
            Piece::Hole(..) => None,
        };
        self.pieces.iter().map(literal).collect()
    }
}

impl Component {
    /// Whether it is one of Amazon's builders that make an image.
    #[must_use]
    pub fn makes_ami(&self) -> bool {
        let kind =
            matches!(self.kind.as_str(), "amazon-ebs" | "amazon-ebssurrogate" | "amazon-instance" | "amazon-chroot");
        kind && self.text("skip_create_ami").as_deref() != Some("true")
    }

    /// Whether it launches a machine of Amazon's.
    #[must_use]
    pub fn is_amazon(&self) -> bool {
        matches!(
            self.kind.as_str(),
            "amazon-ebs" | "amazon-ebssurrogate" | "amazon-ebsvolume" | "amazon-instance" | "amazon-chroot"
        )
    }

    /// An option's entry by its path, such as `source_ami_filter.owners`; the first of several.
    #[must_use]
    pub fn entry(&self, path: &str) -> Option<&Entry> {
        entry(&self.options, path)
    }

    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Value> {
        self.entry(path).map(|entry| &entry.value)
    }

    /// An option's text, when it is given and known.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<String> {
        self.get(path).and_then(Value::text)
    }

    /// Whether an option is given and says something.
    #[must_use]
    pub fn gives(&self, path: &str) -> bool {
        self.get(path).is_some_and(|value| !value.is_empty())
    }

    /// All entries of that name, for blocks that may repeat.
    pub fn all<'c>(&'c self, key: &'c str) -> impl Iterator<Item = &'c Entry> {
        self.options.iter().filter(move |entry| entry.key == key)
    }
}

/// An entry by its path.
#[must_use]
pub fn entry<'e>(entries: &'e [Entry], path: &str) -> Option<&'e Entry> {
    let (key, rest) = path.split_once('.').map_or((path, None), |(key, rest)| (key, Some(rest)));
    let found = entries.iter().find(|entry| entry.key == key)?;
    match rest {
        None => Some(found),
        Some(rest) => match &found.value.kind {
            Kind::Map(entries) => entry(entries, rest),
            // A JSON block may be a list of one object.
            Kind::List(items) => items.first().and_then(Value::entries).and_then(|entries| entry(entries, rest)),
            _ => None,
        },
    }
}
