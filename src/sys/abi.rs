//! Numbers and layouts of the systems' headers that are written down here a second time, each with
//! the C expression that it must equal. `regress/abi.rs` makes a C source of them, which the headers
//! themselves are asked with.
#![allow(unused_macros, unused_imports, dead_code, reason = "for kroute's files for each system")]

/// A C expression, and what we take it for.
pub type Fact = (&'static str, i64);

/// Defines constants that have the headers' names, and the facts about them.
macro_rules! constants {
    ($facts:ident: $($(#[$attribute:meta])* $visibility:vis $name:ident: $type:ty = $value:expr;)*) => {
        $($(#[$attribute])* $visibility const $name: $type = $value;)*
        pub(crate) const $facts: &[$crate::sys::abi::Fact] = &[$((stringify!($name), $name as i64)),*];
    };
}
pub(crate) use constants;

/// Defines the facts about a `repr(C)` structure: its size, and the place and size of each field.
/// Fields after the semicolon are padding, or have no name in C.
macro_rules! layout {
    ($facts:ident: $type:ident = $c:literal {
        $($field:ident = $c_field:literal),* $(,)? $(; $($unnamed:ident),* $(,)?)?
    }) => {
        pub(crate) const $facts: &[$crate::sys::abi::Fact] = &[
            (concat!("sizeof(struct ", $c, ")"), size_of::<$type>() as i64),
            $(
                (
                    concat!("offsetof(struct ", $c, ", ", $c_field, ")"),
                    std::mem::offset_of!($type, $field) as i64,
                ),
                (
                    concat!("sizeof(((struct ", $c, " *)0)->", $c_field, ")"),
                    $crate::sys::abi::field_size::<$type, _>(|it| &it.$field),
                ),
            )*
        ];
        // No field is left out.
        const _: fn(&$type) = |$type { $($field: _,)* $($($unnamed: _,)*)? }| ();
    };
}
pub(crate) use layout;

/// Octets of the field that the function selects.
pub(crate) const fn field_size<T, F>(_: fn(&T) -> &F) -> i64 {
    size_of::<F>() as i64
}
