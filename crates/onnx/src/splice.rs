//! Edited bodies in the places of the old ones.

use bytes::Bytes;
use prost::Message;
use sepconv_ir::{Attribute, Graph, IrError, ValueId};

use crate::body::{Body, FUNCTIONS, Place, message, opaque};
use crate::document::Document;
use crate::envelope::ModelRecord;
use crate::error::{Malformed, OnnxError};
use crate::proto::AttributeProto;
use crate::rope::Rope;
use crate::scope::Scope;
use crate::wire::records;

/// Is told of values of a graph that the bodies of an operator read no more.
pub type Tidy<'a> = &'a mut dyn FnMut(&mut Graph, &[ValueId]) -> Result<(), IrError>;

impl Document {
    /// The graphs within the model, each before those within it. One that can't be read is not
    /// among them, and is carried through as it is.
    pub fn bodies(&self) -> &[Body] {
        &self.bodies
    }

    /// Takes back bodies of [`Document::bodies`] of which some were edited, and puts those in the
    /// place of the old ones. `tidy` is told which values of a graph around an edited body that
    /// body read and reads no more; initializers among them that nothing reads have left already.
    ///
    /// # Errors
    /// [`OnnxError::Malformed`] where a body is not one of this document, or reads a value that is not
    /// there; the errors of `tidy`.
    pub fn set_bodies(&mut self, mut bodies: Vec<Body>, tidy: Tidy<'_>) -> Result<(), OnnxError> {
        for index in (0..bodies.len()).rev() {
            if !bodies[index].graph.is_modified() {
                continue;
            }
            let encoded = bodies[index].encode(self.model.ir_version);
            let put = match (bodies[index].place, bodies[index].parent()) {
                (Place::Function { record }, _) => self.put_function(record, encoded),
                (place, Some(parent)) => match bodies.get_mut(parent) {
                    Some(parent) => put(&mut parent.graph, place, encoded, tidy),
                    None => Err(IrError::Inconsistent("a body lost its place".into()).into()),
                },
                (place, None) => put(&mut self.model.graph, place, encoded, tidy),
            };
            put.map_err(|reason| self.malformed(reason))?;
        }
        self.bodies = bodies;
        Ok(())
    }

    fn put_function(&mut self, record: usize, encoded: Rope) -> Result<(), Malformed> {
        let mut field = Rope::default();
        field.push_field(FUNCTIONS, encoded);
        match self.envelope.model.get_mut(record) {
            Some(slot) => *slot = ModelRecord::Verbatim(field.to_bytes()),
            None => return Err(IrError::Inconsistent("a function lost its place".into()).into()),
        }
        Ok(())
    }
}

/// Puts an encoded body into the attribute of an operator of `graph`.
fn put(graph: &mut Graph, place: Place, encoded: Rope, tidy: Tidy<'_>) -> Result<(), Malformed> {
    let lost = || Malformed::from(IrError::Inconsistent("a body lost its place".into()));
    let Place::Attribute {
        node,
        attribute,
        record,
    } = place
    else {
        return Err(lost());
    };
    let op = graph.operator(node).ok_or_else(lost)?;
    let old = op.attributes.get(attribute).ok_or_else(lost)?;
    let all = old.source.as_ref().and_then(message).ok_or_else(lost)?;
    let mut inner = Rope::default();
    let mut body = Some(encoded);
    for (i, r) in all.into_iter().enumerate() {
        match body.take_if(|_| i == record) {
            Some(body) => inner.push_field(r.number, body),
            None => inner.push(r.raw),
        }
    }
    let mut field = Rope::default();
    field.push_field(5, inner);
    let new = Attribute {
        source: Some(field.to_bytes()),
        ..old.clone()
    };
    let others = op.attributes.iter().enumerate();
    let others = others.filter(|(i, _)| *i != attribute).map(|(_, a)| a);
    let mut scope = Scope::default();
    for a in others.chain([&new]).filter(|a| opaque(a)) {
        if let Some(source) = &a.source {
            scope.add(&decode(source).ok_or_else(lost)?);
        }
    }
    let captures = scope.free.iter().map(|name| graph.find(name));
    let captures = captures.collect::<Option<Vec<_>>>().ok_or_else(lost)?;
    let unread = graph.set_subgraphs(node, attribute, new, captures)?;
    tidy(graph, &unread)?;
    Ok(())
}

/// The `AttributeProto` of an encoded field.
fn decode(field: &Bytes) -> Option<AttributeProto> {
    let only = records(field).ok()?.into_iter().next()?;
    AttributeProto::decode(only.payload().ok()?.clone()).ok()
}
