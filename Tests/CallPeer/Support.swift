import Glibc
import IPC
import IPCChannels
import Synchronization
import SystemPackage
import TestSupport

/// Something that cannot be copied, or is to be changed, for closures that use it in turn.
final class Box<Value: ~Copyable>: @unchecked Sendable {
    // `@unchecked`: whoever uses it from two threads uses what allows that.
    var value: Value
    init(_ value: consuming Value) { self.value = value }
}

/// What may be given up early.
final class Giveable<Value: ~Copyable>: @unchecked Sendable {
    var value: Value?
    /// Nothing yet.
    init() { value = nil }
    init(_ value: consuming Value) { self.value = consume value }
    func give() { value = nil }
}

/// Runs `body` with a buffer, which has what it brought afterwards.
@discardableResult
func receiving<Value>(_ count: Int = 64, _ body: (inout MutableRawSpan) throws -> Value) rethrows -> Value {
    var bytes = [UInt8](repeating: 0, count: count)
    var elements = bytes.mutableSpan
    var buffer = elements.mutableBytes
    return try body(&buffer)
}

@discardableResult
func receiving<Value>(
    _ count: Int = 64, isolation: isolated (any Actor)? = #isolation,
    _ body: (inout MutableRawSpan) async throws -> Value
) async rethrows -> Value {
    var bytes = [UInt8](repeating: 0, count: count)
    var elements = bytes.mutableSpan
    var buffer = elements.mutableBytes
    return try await body(&buffer)
}

func three() -> [UInt8] { [1, 2, 3] }
func kilobyte() -> [UInt8] { [UInt8](repeating: 7, count: 1000) }

/// Where files of the tables go; it is removed at the end.
let scratchFolder: String = {
    // Where calls fail one by one there is much to do, and no disk to wait for.
    let base = CommandLine.arguments[1].hasPrefix("failure") ? "/dev/shm/" : "/tmp/"
    let path = base + uniqueName()
    mkdir(path, 0o700)
    return path
}()

private let names = Atomic(0)
/// Counted, not random: among a hundred thousand random numbers of 32 bits there are two that are the same.
private func nextName() -> Int { names.add(1, ordering: .relaxed).newValue }

func scratchPath() -> FilePath {
    let path = scratchFolder + "/\(nextName())"
    GivenNames.paths?.append(path)
    return FilePath(path)
}

/// The only names of shared memory, semaphores and queues that this process uses.
let namePrefix = uniqueName()
func systemName() -> String {
    let name = "/\(namePrefix)-\(nextName())"
    GivenNames.objects?.append(name)
    return name
}

enum Mistake: Error { case unexpected(String) }

func require(_ condition: Bool, _ what: String = "a result", line: UInt = #line) throws {
    if !condition { throw Mistake.unexpected("\(what), line \(line)") }
}

func newMemory(_ byteCount: Int = 8192) throws -> MemoryMapping { try AnonymousMemory(byteCount: byteCount).map() }

/// A coder for the tests of `Coded`: of numbers only.
enum NumberCoder: MessageCoder {
    static func encode<Value: Encodable>(_ value: Value) throws -> [UInt8] { Array("\(value)".utf8) }
    static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
        guard let value = Int(String(decoding: bytes, as: UTF8.self)) as? Value else {
            throw Mistake.unexpected("number")
        }
        return value
    }
}

enum Fault: Error, BitwiseCopyable { case wrong }
struct CodedFault: Error, Codable {}
typealias CodedService = ServiceChannel<Coded<Int, NumberCoder>, Coded<Int, NumberCoder>, CodedFailure<CodedFault>>
