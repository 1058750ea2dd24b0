//! The few messages of TensorBoard's `event.proto` and `summary.proto` that scalars need, as protobuf.

use crate::protobuf::Message;

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
