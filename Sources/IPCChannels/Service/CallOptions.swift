import IPC
import Synchronization

/// What a call is to be like, and what travels with its request beside it.
///
/// ```swift
/// enum Refusal: Error, BitwiseCopyable { case unknown }
/// var client = try Service<UInt64, UInt64, Refusal>.create("prices").makeClient()
/// let options = CallOptions(retries: 2, metadata: ["tenant": "acme", "trace": "4bf92f3577b34da6"])
/// let price = try client.call(7, options, until: .after(.seconds(1)))
/// ```
public struct CallOptions: Hashable, Sendable {
    /// How often another server may do the call again if one dies in it, at most 127.
    public var retries: Int
    /// Short texts for whoever answers the call, such as a trace's identifier, or a tenant: see ``Call/metadata``. They are the caller's
    /// word, as the request is. At most ``maximumMetadataBytes``; a call without any carries nothing for them.
    public var metadata: [String: String]

    public init(retries: Int = 0, metadata: [String: String] = [:]) {
        self.retries = retries
        self.metadata = metadata
    }

    /// Bytes that all keys and values of a call may have, in UTF-8, with 4 for each pair.
    public static var maximumMetadataBytes: Int { 8192 }
}

/// Metadata as they lie in a call: of each pair the lengths of the key and the value (UInt16 each), the key, the value; in UTF-8.
struct CallMetadata {
    private static let lengthSize = 4

    /// - Throws: ``IPC/IPCError/Code/messageTooLarge``.
    static func bytes(of metadata: [String: String], _ channel: ChannelName) throws(IPCError) -> [UInt8] {
        var count = 0
        for (key, value) in metadata { count += lengthSize + key.utf8.count + value.utf8.count }
        guard count <= CallOptions.maximumMetadataBytes else {
            throw IPCError(
                .messageTooLarge, "call", channel.description,
                advice:
                    "its metadata have \(count) bytes, of \(CallOptions.maximumMetadataBytes) that there may be; send long texts in the request"
            )
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        for (key, value) in metadata {
            for length in [key.utf8.count, value.utf8.count] {
                unsafe withUnsafeBytes(of: UInt16(length)) { unsafe bytes.append(contentsOf: $0) }
            }
            bytes.append(contentsOf: key.utf8)
            bytes.append(contentsOf: value.utf8)
        }
        return bytes
    }

    /// What bytes say that anybody may have written. What is no text, and all behind what is no pair, is left out.
    static func decoded(_ bytes: [UInt8]) -> [String: String] {
        let span = unsafe bytes.span.bytes
        var metadata: [String: String] = [:]
        var offset = 0
        while bytes.count - offset >= lengthSize {
            let keyLength = Int(unsafe span.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt16.self))
            let valueLength = Int(unsafe span.unsafeLoadUnaligned(fromByteOffset: offset + 2, as: UInt16.self))
            let key = offset + lengthSize
            let (value, end) = (key + keyLength, key + keyLength + valueLength)
            guard end <= bytes.count else { break }
            if let key = String(validating: bytes[key..<value], as: UTF8.self),
                let value = String(validating: bytes[value..<end], as: UTF8.self)
            {
                metadata[key] = value
            }
            offset = end
        }
        return metadata
    }
}

extension CallFrame {
    /// Where the metadata lie: after the room for the reply.
    private var metadata: UnsafeMutableRawPointer { unsafe reply + replyLimit }

    /// Of one that is being written, by as many bytes as it was made for.
    func setMetadata(_ bytes: [UInt8]) { unsafe metadata.copyBytes(of: bytes.span.bytes) }

    /// A copy, of one with a payload of so many bytes. Their count is loaded once more, and checked.
    func metadata(payload byteCount: Int) -> [UInt8]? {
        let count = Int(unsafe payload.load(fromByteOffset: Self.metadataCount, as: UInt32.self))
        guard (1...CallOptions.maximumMetadataBytes).contains(count),
            Self.byteCount(request: requestCount, reply: replyLimit, metadata: count) == byteCount
        else { return nil }
        return unsafe [UInt8](UnsafeRawBufferPointer(start: metadata, count: count))
    }
}

extension Membership {
    /// What travels with a call, while it is ours.
    func metadata(of work: TakenWork) -> [String: String] {
        guard !memory.isInherited, let frame = try? CallFrame(memory, work),
            let bytes = frame.metadata(payload: Int(work.header.length))
        else { return [:] }
        // They were this call's if it was not answered by then; its caller may have given it up.
        atomicMemoryFence(ordering: .acquiring)
        let state = Work.State(word: memory.workState(at: work.position).published)
        guard state.stage == Work.Stage.taken, state.slot == slot, state.attempts == work.state.attempts,
            state.isOf(lap: memory.workLap(at: work.position))
        else { return [:] }
        return CallMetadata.decoded(bytes)
    }
}
