//! Writing protobuf, as far as TensorBoard and Weights & Biases need it.

/// A protobuf message, to which fields are appended.
#[derive(Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    /// The number of the field and how its value is stored: 0 as a varint, 1 in 64 bits, 2 with a length, 5 in 32 bits.
    fn key(&mut self, field: u64, stored: u64) {
        self.raw_varint(field << 3 | stored);
    }

    /// Seven bits per byte, the lowest first; the highest bit says that another byte follows.
    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(crate) fn varint(&mut self, field: u64, value: u64) {
        self.key(field, 0);
        self.raw_varint(value);
    }

    pub(crate) fn fixed_64(&mut self, field: u64, value: f64) {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, field: u64, value: &[u8]) {
        self.key(field, 2);
        self.raw_varint(value.len() as u64);
        self.0.extend(value);
    }

    pub(crate) fn fixed_32(&mut self, field: u64, value: f32) {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
    }
}
