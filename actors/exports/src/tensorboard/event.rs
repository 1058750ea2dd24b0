//! The few messages of TensorBoard's `event.proto` and `summary.proto` that scalars need, as protobuf.

/// What an event says. The numbers are those of the fields in the `.proto` files.
pub(super) enum Content<'a> {
    /// The first event of every file.
    FileVersion,
    /// Makes a TensorBoard that is open drop what an earlier file of the folder said of this step and later ones.
    SessionStart,
    /// Tags and their values, which the format keeps as `f32`.
    Scalars(&'a [(String, f64)]),
}

/// The bytes of an event. `wall_time` is in seconds since 1970.
pub(super) fn encoded(wall_time: f64, step: u64, content: Content) -> Vec<u8> {
    let mut event = Message::default();
    event.fixed_64(1, wall_time);
    event.varint(2, step);
    match content {
        Content::FileVersion => event.bytes(3, b"brain.Event:2"),
        Content::SessionStart => {
            const START: u64 = 1;
            let mut session_log = Message::default();
            session_log.varint(1, START);
            event.bytes(7, &session_log.0);
        }
        Content::Scalars(scalars) => {
            let mut summary = Message::default();
            for (tag, number) in scalars {
                let mut value = Message::default();
                value.bytes(1, tag.as_bytes());
                value.fixed_32(2, *number as f32);
                summary.bytes(1, &value.0);
            }
            event.bytes(5, &summary.0);
        }
    }
    event.0
}

/// A protobuf message, to which fields are appended.
#[derive(Default)]
struct Message(Vec<u8>);

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

    fn varint(&mut self, field: u64, value: u64) {
        self.key(field, 0);
        self.raw_varint(value);
    }

    fn fixed_64(&mut self, field: u64, value: f64) {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.key(field, 2);
        self.raw_varint(value.len() as u64);
        self.0.extend(value);
    }

    fn fixed_32(&mut self, field: u64, value: f32) {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
    }
}
