import Glibc
import IPC
import SystemPackage

/// What a participant writes down of one thing that it did.
struct Record: BitwiseCopyable {
    enum Kind: UInt64 {
        /// A subscriber has joined: `id` is the channel, and `more` its position.
        case joined = 1
        /// A message came: `id`, and the position after it.
        case message
        /// So many messages (`id`) were overwritten before they were received; the position after that.
        case missed
        /// A job was taken (`more`: which attempt), acknowledged, or its acknowledgement was refused.
        case taken, done, refused
        /// A call was begun, or ended: `more` is nothing, or the number of the error.
        case begun, answered, failed, wrong
        /// A call is executed.
        case executed
    }

    var kind: UInt64
    var id: UInt64
    var more: UInt64
    /// Of the monotonic clock.
    var time: UInt64

    init(_ kind: Kind, _ id: UInt64, _ more: UInt64 = 0) {
        (self.kind, self.id, self.more, time) = (kind.rawValue, id, more, MonotonicClock.now)
    }

    static let zero = Record(.joined, 0)
}

/// Names what was sent: by which participant, and the number that it gave.
struct Item: Hashable {
    var source: Int
    var number: Int

    init(source: Int, number: Int) { (self.source, self.number) = (source, number) }
    init(_ id: UInt64) { (source, number) = (Int(id >> 40), Int(id & 0xff_ffff_ffff)) }
    var id: UInt64 { UInt64(source) << 40 | UInt64(number) }
}

/// Appends records to a file, each time with one `write`: what is written stays, whoever is killed.
struct RecordWriter {
    private let file: FileDescriptor
    /// The last record of a predecessor.
    let last: Record?

    init(_ path: String) throws {
        file = try FileDescriptor.open(
            FilePath(path), .readWrite, options: [.append, .create, .closeOnExec], permissions: .ownerReadWrite)
        let size = MemoryLayout<Record>.size
        // A predecessor may have been killed in the middle of a write.
        let whole = Int(try file.seek(offset: 0, from: .end)) / size * size
        guard ftruncate(file.rawValue, whole) == 0 else { throw Errno(rawValue: errno) }
        var record = Record.zero
        if whole > 0 {
            let file = file
            _ = try withUnsafeMutableBytes(of: &record) {
                try file.read(fromAbsoluteOffset: Int64(whole - size), into: $0)
            }
        }
        last = whole > 0 ? record : nil
    }

    func append(_ records: [Record]) throws { _ = try records.withUnsafeBytes { try file.writeAll($0) } }
    func append(_ record: Record) throws { try append([record]) }
}

/// Reads what others append.
struct RecordReader {
    private let path: String
    private var offset = 0
    private var file: FileDescriptor?

    init(_ path: String) { self.path = path }

    /// The records since the previous call.
    mutating func readNew() -> [Record] {
        if file == nil { file = try? FileDescriptor.open(FilePath(path), .readOnly, options: .closeOnExec) }
        guard let file, let end = try? file.seek(offset: 0, from: .end) else { return [] }
        let count = (Int(end) - offset) / MemoryLayout<Record>.size
        guard count > 0 else { return [] }
        var records = [Record](repeating: .zero, count: count)
        let read = records.withUnsafeMutableBytes { (try? file.read(fromAbsoluteOffset: Int64(offset), into: $0)) ?? 0 }
        records.removeLast(count - read / MemoryLayout<Record>.size)
        offset += records.count * MemoryLayout<Record>.size
        return records
    }

    func close() { try? file?.close() }
}

/// How many things a participant has begun, and how many calls of the library have returned: in a file of two words.
struct Counter {
    private let file: FileDescriptor

    init(_ path: String) throws {
        file = try FileDescriptor.open(
            FilePath(path), .writeOnly, options: [.create, .closeOnExec], permissions: .ownerReadWrite)
    }

    func begin(_ number: Int) throws { try write(number + 1, at: 0) }
    func end(_ number: Int) throws { try write(number + 1, at: 8) }

    private func write(_ value: Int, at offset: Int64) throws {
        _ = try withUnsafeBytes(of: value) { try file.writeAll(toAbsoluteOffset: offset, $0) }
    }

    static func read(_ path: String) -> (begun: Int, ended: Int) {
        var words = (0, 0)
        guard let file = try? FileDescriptor.open(FilePath(path), .readOnly, options: .closeOnExec) else {
            return (0, 0)
        }
        defer { try? file.close() }
        _ = withUnsafeMutableBytes(of: &words) { try? file.read(fromAbsoluteOffset: 0, into: $0) }
        return (words.0, words.1)
    }
}
