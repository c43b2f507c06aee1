import Glibc
import SystemPackage

/// The machine that a run was made on, for whoever reads its figures.
public struct Machine: Sendable {
    public let processor: String
    public let processorCount: Int
    public let kernel: String
    public let memoryBytes: Int

    /// On one line.
    public var description: String {
        "\(processor), \(processorCount) processors, \(memoryBytes >> 30) GiB of memory, \(kernel)"
    }

    public static var current: Machine {
        var name = utsname()
        unsafe uname(&name)
        let release = unsafe withUnsafeBytes(of: name.release) {
            unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        let machine = unsafe withUnsafeBytes(of: name.machine) {
            unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        return Machine(
            processor: processorName ?? machine, processorCount: Placement.processors.count,
            kernel: "Linux \(release) \(machine)",
            memoryBytes: sysconf(CInt(_SC_PHYS_PAGES)) * sysconf(CInt(_SC_PAGESIZE)))
    }

    private static var processorName: String? {
        guard let file = unsafe fopen("/proc/cpuinfo", "re") else { return nil }
        defer { unsafe fclose(file) }
        var line = [CChar](repeating: 0, count: 512)
        while unsafe fgets(&line, CInt(line.count), file) != nil {
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if text.hasPrefix("model name"), let colon = text.firstIndex(of: ":") {
                return String(text[text.index(after: colon)...].drop { $0 == " " }.prefix { $0 != "\n" })
            }
        }
        return nil
    }
}
