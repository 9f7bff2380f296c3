//! A serde deserializer over the tree, so that every problem knows its node.

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor};
use serde::forward_to_deserialize_any;

use crate::problem::{Problem, What};
use crate::tree::{Node, Scalar, Value};

/// Reads a value. Types with fields take null for "left out".
pub(crate) struct Reader<'t>(pub &'t Node);

impl Reader<'_> {
    fn unexpected(&self) -> Unexpected<'_> {
        match &self.0.value {
            Value::Scalar { scalar: Scalar::Null, .. } => Unexpected::Unit,
            Value::Scalar { text, .. } => Unexpected::Str(text),
            Value::List(_) => Unexpected::Seq,
            Value::Map(_) => Unexpected::Map,
        }
    }

    fn refuse(&self, wanted: &str) -> Problem {
        Problem::invalid_type(self.unexpected(), &wanted).about(self.0)
    }
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let read = match &self.0.value {
            Value::Scalar { text, scalar } => match *scalar {
                Scalar::Null => visitor.visit_unit(),
                Scalar::Bool(value) => visitor.visit_bool(value),
                Scalar::Unsigned(value) => visitor.visit_u64(value),
                Scalar::Signed(value) => visitor.visit_i64(value),
                Scalar::Float(value) => visitor.visit_f64(value),
                Scalar::Text => visitor.visit_borrowed_str(text),
            },
            Value::List(entries) => visitor.visit_seq(Entries(entries.iter())),
            Value::Map(entries) => visitor.visit_map(Fields { entries: entries.iter(), value: None, skip_null: &[] }),
        };
        read.map_err(|problem| problem.about(self.0))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_struct<V: Visitor<'de>>(self, _: &'static str, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Problem> {
        let Value::Map(entries) = &self.0.value else { return Err(self.refuse("a map")) };
        visitor.visit_map(Fields { entries: entries.iter(), value: None, skip_null: fields }).map_err(|problem| problem.about(self.0))
    }

    fn deserialize_enum<V: Visitor<'de>>(self, _: &'static str, _: &'static [&'static str], visitor: V) -> Result<V::Value, Problem> {
        let (variant, value) = match &self.0.value {
            Value::Scalar { scalar: Scalar::Text, .. } => (self.0, None),
            Value::Map(entries) if entries.len() == 1 => (&entries[0].0, Some(&entries[0].1)),
            Value::Map(_) => {
                return Err(Problem::new(What::Value { rule: "exactly one of the alternatives must stand here".to_owned() }).about(self.0));
            }
            Value::Scalar { .. } | Value::List(_) => return Err(self.refuse("enum ")),
        };
        visitor.visit_enum(Alternative { variant, value }).map_err(|problem| problem.about(self.0))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map identifier
    }
}

/// A key: the text of any scalar, so that `8080:` and `no:` are keys like others.
struct KeyReader<'t>(&'t Node);

impl<'de> Deserializer<'de> for KeyReader<'de> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_borrowed_str(self.0.text().unwrap_or_default()).map_err(|problem: Problem| problem.about(self.0))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple tuple_struct map struct
        enum identifier ignored_any
    }
}

struct Entries<'t>(std::slice::Iter<'t, Node>);

impl<'de> SeqAccess<'de> for Entries<'de> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Problem> {
        self.0.next().map(|node| seed.deserialize(Reader(node)).map_err(|problem| problem.about(node))).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct Fields<'t> {
    entries: std::slice::Iter<'t, (Node, Node)>,
    value: Option<&'t Node>,
    /// Fields that are left out when nothing follows their colon.
    skip_null: &'static [&'static str],
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Problem> {
        for (key, value) in self.entries.by_ref() {
            if value.is_null() && key.text().is_some_and(|text| self.skip_null.contains(&text)) {
                continue;
            }
            self.value = Some(value);
            return seed.deserialize(KeyReader(key)).map(Some).map_err(|problem| problem.about(key));
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        let node = self.value.take().ok_or_else(|| Problem::custom("a value was asked for before its key"))?;
        seed.deserialize(Reader(node)).map_err(|problem| problem.about(node))
    }
}

struct Alternative<'t> {
    variant: &'t Node,
    value: Option<&'t Node>,
}

impl<'de> EnumAccess<'de> for Alternative<'de> {
    type Error = Problem;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Problem> {
        let name = self.variant.text().unwrap_or_default();
        let value = seed.deserialize(IntoDeserializer::<Problem>::into_deserializer(name)).map_err(|problem| problem.about(self.variant))?;
        Ok((value, self))
    }
}

impl Alternative<'_> {
    fn needs_value(&self) -> Problem {
        Problem::new(What::Value { rule: "a value must follow, as in `http: /healthz` or `tcp: {}`".to_owned() }).about(self.variant)
    }
}

impl<'de> VariantAccess<'de> for Alternative<'de> {
    type Error = Problem;

    fn unit_variant(self) -> Result<(), Problem> {
        match self.value {
            None => Ok(()),
            Some(value) if value.is_null() => Ok(()),
            Some(value) => Err(Problem::new(What::Value { rule: "nothing may follow this word".to_owned() }).about(value)),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Problem> {
        let value = self.value.ok_or_else(|| self.needs_value())?;
        seed.deserialize(Reader(value)).map_err(|problem| problem.about(value))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Problem> {
        let value = self.value.ok_or_else(|| self.needs_value())?;
        Reader(value).deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Problem> {
        match self.value {
            Some(value) if !value.is_null() => Reader(value).deserialize_struct("", fields, visitor),
            // `tcp:` and `tcp` are as good as `tcp: {}`.
            _ => visitor.visit_map(Fields { entries: [].iter(), value: None, skip_null: &[] }).map_err(|problem| problem.about(self.variant)),
        }
    }
}
