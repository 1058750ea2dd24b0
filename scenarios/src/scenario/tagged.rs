//! Reads tables in which one key, the tag, decides which other keys there may be: `[judge]` with its `kind`.
//!
//! serde's own internally tagged enums copy such a table before they read it, which loses the lines of its values, and
//! together with `flatten` they accept unknown keys. Here the shared keys are taken out one by one while the variant's
//! struct, which refuses unknown keys, reads the rest.
//!
//! - TAGGED-1 a key of another variant is an unknown key; [`super::de`] says which variant it belongs to.
//! - TAGGED-2 every error has the place of its own key or value. This needs the tag to come first, as
//!   [`super::tree::Node`] gives it; from other sources, variant keys before the tag are kept until it is found.

use std::collections::VecDeque;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IntoDeserializer as _, MapAccess};

/// The keys that every variant of a table has.
pub(crate) trait SharedKeys<'de>: Default {
    /// Reads the value of `key` if it is one of these keys; whether it is.
    ///
    /// # Errors
    /// The value does not fit.
    fn read<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error>;

    /// Whether `key` is one of these keys.
    fn has(key: &str) -> bool;
}

/// A table that has been read up to its tag.
pub(crate) struct Tagged<A, T, S> {
    /// The tag's value, if the table has one.
    pub(crate) tag: Option<T>,
    /// The shared keys read so far; complete after [`Tagged::variant`].
    shared: S,
    /// Keys that are not shared and came before the tag.
    early: VecDeque<(String, toml::Value)>,
    map: A,
}

impl<'de, A: MapAccess<'de>, T: Deserialize<'de>, S: SharedKeys<'de>> Tagged<A, T, S> {
    /// Reads a table up to the key `tag`, or to its end if it has none.
    ///
    /// # Errors
    /// The tag's value or a shared one does not fit.
    pub(crate) fn open(tag: &str, mut map: A) -> Result<Self, A::Error> {
        let (mut shared, mut early) = (S::default(), VecDeque::new());
        let tag = loop {
            match map.next_key::<String>()? {
                None => break None,
                Some(key) if key == tag => break Some(map.next_value()?),
                Some(key) => {
                    if !shared.read(&key, &mut map)? {
                        early.push_back((key, map.next_value()?));
                    }
                }
            }
        };
        Ok(Self { tag, shared, early, map })
    }

    /// Reads the rest of the table: what is not shared is read into a `V`.
    ///
    /// # Errors
    /// A key is neither shared nor one of `V`, or a value does not fit.
    pub(crate) fn variant<V: Deserialize<'de>>(self) -> Result<(V, S), A::Error> {
        let Self { mut shared, early, map, .. } = self;
        let rest = Rest { shared: &mut shared, early, value: None, map, lifetime: PhantomData };
        let variant = V::deserialize(MapAccessDeserializer::new(rest))?;
        Ok((variant, shared))
    }
}

/// The keys of a variant that has none but the shared ones.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoKeys {}

/// The entries of a table without the shared ones, which are read on the way.
struct Rest<'a, 'de, A, S> {
    shared: &'a mut S,
    early: VecDeque<(String, toml::Value)>,
    /// The value of the early key that was given last.
    value: Option<toml::Value>,
    map: A,
    lifetime: PhantomData<&'de ()>,
}

impl<'de, A: MapAccess<'de>, S: SharedKeys<'de>> MapAccess<'de> for Rest<'_, 'de, A, S> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        if let Some((key, value)) = self.early.pop_front() {
            self.value = Some(value);
            let key: StrDeserializer<'_, A::Error> = key.as_str().into_deserializer();
            return seed.deserialize(key).map(Some);
        }
        let mut seed = Some(seed);
        loop {
            let key = KeySeed::<K, S> { own: &mut seed, shared: PhantomData };
            match self.map.next_key_seed(key)? {
                None => return Ok(None),
                Some(Key::Own(key)) => return Ok(Some(key)),
                Some(Key::Shared(key)) => {
                    self.shared.read(&key, &mut self.map)?;
                }
            }
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        match self.value.take() {
            Some(value) => seed.deserialize(value).map_err(|error| A::Error::custom(error.message())),
            None => self.map.next_value_seed(seed),
        }
    }
}

enum Key<K> {
    Shared(String),
    Own(K),
}

/// Reads a key as the variant does unless it is shared. It is read within the map's own call, so that an unknown key is
/// reported at its place.
struct KeySeed<'a, K, S> {
    own: &'a mut Option<K>,
    shared: PhantomData<S>,
}

impl<'de, K: DeserializeSeed<'de>, S: SharedKeys<'de>> DeserializeSeed<'de> for KeySeed<'_, K, S> {
    type Value = Key<K::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let key = String::deserialize(deserializer)?;
        if S::has(&key) {
            return Ok(Key::Shared(key));
        }
        let Some(own) = self.own.take() else { return Err(D::Error::custom("a key was read twice")) };
        let name: StrDeserializer<'_, D::Error> = key.as_str().into_deserializer();
        own.deserialize(name).map(Key::Own)
    }
}
