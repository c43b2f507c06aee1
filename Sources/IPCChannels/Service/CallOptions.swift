import IPC
import Synchronization

/// The options of a call, and the metadata that travel with its request.
///
/// ```swift
/// enum Refusal: Error, BitwiseCopyable { case unknown }
/// var client = try ServiceChannel<UInt64, UInt64, Refusal>.openOrCreate("prices").makeClient()
/// let options = CallOptions(retries: 2, metadata: ["tenant": "acme", "trace": "4bf92f3577b34da6"])
/// let price = try client.call(7, options, until: .after(.seconds(1)))
/// ```
public struct CallOptions: Hashable, Sendable {
    /// How often another server may repeat the call if its server dies in it, at most 127.
    public var retries: Int
    /// Short texts for the server, such as a trace identifier or a tenant: see ``ServiceChannel/Call/metadata``. Like the request, they are
    /// unverified. At most ``maximumMetadataBytes``; a call without metadata takes no space for them.
    public var metadata: [String: String]
    /// Whether the call throws ``/IPC/IPCError/Code/notReady`` at once if no server has joined. Otherwise it waits for one until its
    /// deadline, so that the order in which programs start does not matter.
    public var requiresServer: Bool

    public init(retries: Int = 0, metadata: [String: String] = [:], requiresServer: Bool = false) {
        self.retries = retries
        self.metadata = metadata
        self.requiresServer = requiresServer
    }

    /// The bytes of the metadata, if a call with these options may begin.
    ///
    /// - Throws: ``/IPC/IPCError/Code/notReady``; ``/IPC/IPCError/Code/messageTooLarge``.
    func checkedMetadata(_ memory: ChannelMemory) throws(IPCError) -> [UInt8] {
        if requiresServer, try !memory.hasLivingReader {
            throw IPCError(
                .notReady, "call", memory.name.description,
                advice: "no server has joined; start one, or let the call wait for one (requiresServer: false)")
        }
        return try CallMetadata.bytes(of: metadata, memory.name)
    }

    /// The limit of all keys and values of a call in bytes of UTF-8, plus 4 for each pair.
    public static var maximumMetadataBytes: Int { 8192 }
}

/// The encoding of metadata in a call: for each pair the lengths of key and value (UInt16 each), the key, the value; in UTF-8.
struct CallMetadata {
    private static let lengthSize = 4

    /// - Throws: ``/IPC/IPCError/Code/messageTooLarge``.
    static func bytes(of metadata: [String: String], _ channel: ChannelName) throws(IPCError) -> [UInt8] {
        var count = 0
        for (key, value) in metadata { count += lengthSize + key.utf8.count + value.utf8.count }
        guard count <= CallOptions.maximumMetadataBytes else {
            throw IPCError(
                .messageTooLarge, "call", channel.description,
                advice:
                    "its metadata has \(count) bytes, but the limit is \(CallOptions.maximumMetadataBytes); send long texts in the request"
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

    /// Decodes untrusted bytes. Skips pairs that are not UTF-8, and ignores everything after a malformed pair.
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
    /// The metadata follow the room for the reply.
    private var metadata: UnsafeMutableRawPointer { unsafe reply + replyLimit }

    /// Writes the metadata of a new call, which was made for this many bytes.
    func setMetadata(_ bytes: [UInt8]) { unsafe metadata.copyBytes(of: bytes.span.bytes) }

    /// A copy of the metadata; nil if there are none. Their size is loaded again, and checked against the payload's.
    func metadata(payload byteCount: Int) -> [UInt8]? {
        let count = Int(unsafe payload.load(fromByteOffset: Self.metadataCount, as: UInt32.self))
        guard (1...CallOptions.maximumMetadataBytes).contains(count),
            Self.byteCount(request: requestCount, reply: replyLimit, metadata: count) == byteCount
        else { return nil }
        return unsafe [UInt8](UnsafeRawBufferPointer(start: metadata, count: count))
    }
}

extension Membership {
    /// The metadata of a call that this server has; empty otherwise.
    func metadata(of work: TakenWork) -> [String: String] {
        guard !memory.isInherited, let frame = try? CallFrame(memory, work),
            let bytes = frame.metadata(payload: Int(work.header.length))
        else { return [:] }
        // The bytes belong to this call if it is not answered by now. Its caller may have cancelled it.
        atomicMemoryFence(ordering: .acquiring)
        let state = Work.State(word: memory.workState(at: work.position).published)
        guard state.stage == Work.Stage.taken, state.slot == slot, state.attempts == work.state.attempts,
            state.isOf(lap: memory.workLap(at: work.position))
        else { return [:] }
        return CallMetadata.decoded(bytes)
    }
}
