//! What is known about a key before any value is: one row of [`super::KEYS`], and the macro that
//! makes rows and fields from the same declaration.

use super::kind::Kind;

/// One configuration key.
#[derive(Debug)]
pub struct Key {
    /// The TOML table it stands in.
    pub section: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// The value when nobody gives one, as text; `None` where there is none (`help` says what then).
    pub default: Option<&'static str>,
    /// Whether it may go without value and default.
    pub(super) may_be_absent: bool,
    /// Whether its value must not be shown. Such a key has a `<name>_file` variant.
    pub is_secret: bool,
    /// The environment name that works besides the regular one.
    pub short: Option<&'static str>,
    /// How its value is written in TOML.
    pub shape: Shape,
    /// What values are allowed.
    pub allowed: fn() -> String,
    /// What it does, a sentence or two.
    pub help: &'static [&'static str],
}

/// How a value is written in TOML. In the environment all are text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A string.
    Text,
    /// An integer, or a string that says the same (so that `${NAME}` can stand for a number).
    Number,
    /// An array of strings; comma-separated in the environment.
    List,
    /// A table of strings, or an array of `{ from, to }`; `from=to,from=to` in the environment.
    Map,
}

impl Key {
    /// The part of a row that the kind decides.
    pub(super) const fn of_kind<K: Kind>() -> Key {
        Key {
            section: "",
            name: "",
            default: None,
            may_be_absent: K::MAY_BE_ABSENT,
            is_secret: K::IS_SECRET,
            short: None,
            shape: K::SHAPE,
            allowed: K::allowed,
            help: &[],
        }
    }

    /// Whether somebody must give it.
    pub fn is_required(&self) -> bool {
        self.default.is_none() && !self.may_be_absent
    }

    /// `section.key`, as messages name it.
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// `KEYWAY_<SECTION>_<KEY>`.
    pub fn environment_name(&self) -> String {
        format!("KEYWAY_{}_{}", self.section, self.name).to_uppercase()
    }

    /// Every environment name that sets it: the regular one and the short one. Each also exists with
    /// `_FILE` behind: the value is then the content of that file.
    pub fn environment_names(&self) -> impl Iterator<Item = String> {
        let regular = self.environment_name();
        let short = self.short.filter(|short| *short != regular);
        [Some(regular), short.map(str::to_owned)]
            .into_iter()
            .flatten()
    }
}

/// Declares the sections: their structs, `Sections` that holds them all, [`KEYS`], and how they are
/// filled from [`Values`].
macro_rules! sections {
    ($(
        $(#[doc = $section_doc:literal])+
        $section:ident: $Section:ident {
            $(
                $(#[doc = $help:literal])+
                $key:ident: $type:ty = $kind:ident $(<$($parameter:tt),+>)? $(($default:literal))?
                    $(short $short:literal)?,
            )+
        }
    )+) => {
        $(
            $(#[doc = $section_doc])+
            #[derive(Clone, Debug)]
            pub struct $Section {
                $($(#[doc = $help])+ pub $key: $type,)+
            }

            impl $Section {
                /// Reads every key before giving up, so that all mistakes are noted.
                pub(super) fn read(values: &mut Values) -> Option<Self> {
                    $(let $key = values.read::<$kind $(<$($parameter),+>)?>(
                        stringify!($section),
                        stringify!($key),
                    );)+
                    Some($Section { $($key: $key?,)+ })
                }
            }
        )+

        /// Every section as declared.
        pub(super) struct Sections {
            $(pub(super) $section: $Section,)+
        }

        impl Sections {
            /// Reads every key; mistakes are noted in `values` and make this `None`.
            pub(super) fn read(values: &mut Values) -> Option<Sections> {
                $(let $section = $Section::read(values);)+
                Some(Sections { $($section: $section?,)+ })
            }
        }

        /// Every key, in the order of the example file.
        pub static KEYS: &[$crate::config::key::Key] = &[
            $($($crate::config::key::Key {
                section: stringify!($section),
                name: stringify!($key),
                default: $crate::config::key::sections!(@first $($default)?),
                short: $crate::config::key::sections!(@first $($short)?),
                help: &[$($help),+],
                ..$crate::config::key::Key::of_kind::<$kind $(<$($parameter),+>)?>()
            },)+)+
        ];
    };
    (@first $value:literal) => { Some($value) };
    (@first) => { None };
}
pub(super) use sections;
