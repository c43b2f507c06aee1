import Glibc
import IPC
import TestSupport

/// Makes the objects of each row, has its calls end without success, several times each, and gives the objects up, again and again:
/// descriptors, mappings and memory stay as they are.
enum LongUse {
    /// The calls on the objects that were made. Many rows make the same kind of object.
    private static let callsForEach = 10
    private static let warmUp = 30
    /// What may come and go beside the call: a thread's stack, a watch for a file that is closed in a second.
    private static let tolerance = 16
    /// In bytes. Only many repetitions show a small leak.
    private static let memoryTolerance = 1 << 20

    /// - Parameter count: How often to make each call.
    /// - Returns: What has grown.
    static func run(_ row: Wait, _ count: Int) -> [String] {
        do {
            for _ in 0..<warmUp { try once(row) }
            let before = Usage()
            for _ in 0..<max(count / callsForEach, 1) { try once(row) }
            let after = Usage()
            return after.growth(since: before).map { "\(row.calls[0]): \($0) in \(count) times" }
        } catch {
            return ["\(row.calls[0]): \(error)"]
        }
    }

    private static func once(_ row: Wait) throws {
        let made = try row.make()
        defer { if made.mustBeReleased { try? made.release() } }
        for _ in 0..<callsForEach {
            for (_, attempt) in made.tries { _ = try attempt() }
            if case .failure(let error) = Deadlines.attempt(made.call) {
                guard let error = error as? IPCError, error.code == .timedOut || error.code == .notReady else {
                    throw error
                }
            }
        }
    }

    private struct Usage {
        let descriptors = openDescriptorCount()
        let mappings = lineCount("/proc/self/maps")
        let memory = residentBytes()

        func growth(since before: Usage) -> [String] {
            var grown: [String] = []
            if descriptors > before.descriptors + tolerance {
                grown.append("\(before.descriptors) descriptors became \(descriptors)")
            }
            if mappings > before.mappings + tolerance { grown.append("\(before.mappings) mappings became \(mappings)") }
            if memory > before.memory + memoryTolerance {
                grown.append("\(before.memory) resident bytes became \(memory)")
            }
            return grown
        }

        private static func lineCount(_ path: String) -> Int {
            guard let file = fopen(path, "r") else { return 0 }
            defer { fclose(file) }
            var count = 0
            while case let byte = getc(file), byte != EOF { if byte == 10 { count += 1 } }
            return count
        }

        private static func residentBytes() -> Int {
            guard let file = fopen("/proc/self/statm", "r") else { return 0 }
            defer { fclose(file) }
            var line = [CChar](repeating: 0, count: 128)
            guard fgets(&line, 128, file) != nil else { return 0 }
            let text = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
            let fields = text.split(separator: " ")
            return fields.count > 1 ? (Int(fields[1]) ?? 0) * Int(sysconf(Int32(_SC_PAGESIZE))) : 0
        }
    }
}
