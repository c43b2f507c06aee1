import IPC

/// Messages that are a header with any number of bytes after it, such as a picture with its size.
///
/// ```swift
/// struct Picture: BitwiseCopyable { var number: UInt64; var width: UInt32; var height: UInt32 }
///
/// let pictures = try Topic<Framed<Picture>>.openOrCreate("camera/pictures", ChannelOptions(capacity: 1 << 26))
/// // The process with the camera writes the bytes directly into the log:
/// var publisher = try pictures.makePublisher()
/// let picture = Picture(number: 1, width: 1280, height: 720)
/// try publisher.publish(picture, upTo: 1 << 20) { pixels in camera.read(into: &pixels) }
/// // Any number of others read them there:
/// var subscription = try pictures.makeSubscription()
/// try subscription.receive(until: .after(.seconds(1))) { picture, pixels in
///     print(picture.width, picture.height, pixels.byteCount)
/// }
/// ```
///
/// Only a ``Topic`` carries them. The header is a `BitwiseCopyable` type without pointers. It is a part of the channel's type, and
/// it is checked when it is received, like a message of a ``Topic`` of values. The bytes are not checked.
///
/// In the log, the bytes follow the header directly, at the offset `MemoryLayout<Header>.size`, so they may not be aligned.
public enum Framed<Header: BitwiseCopyable>: FramedMessage {}

/// ``Framed``, of whatever header. Only ``Framed`` conforms to it.
public protocol FramedMessage: Sendable {
    associatedtype Header: BitwiseCopyable
}

extension MessageType {
    /// - Throws: ``/IPC/IPCError/Code/wrongType`` if the header cannot be a message: as ``of(_:)``.
    static func framed<Message: FramedMessage>(_: Message.Type) throws(IPCError) -> MessageType {
        try framed(header: Message.Header.self)
    }
}
