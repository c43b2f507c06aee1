import Glibc
import IPC

/// What those that stay use between two rounds, when they have left all channels; and what is in the folder of channels.
struct Usage {
    /// Of one process, or of the folder.
    private struct Figures {
        var kilobytes = 0
        var descriptors = 0
        var mappings = 0
        var threads = 0

        /// By how much each may grow: allocators and pools of threads keep some of what they had at most.
        static let growth = Figures(kilobytes: 16_384, descriptors: 8, mappings: 48, threads: 8)

        func exceeds(_ first: Figures) -> Bool {
            kilobytes > first.kilobytes + Self.growth.kilobytes
                || descriptors > first.descriptors + Self.growth.descriptors
                || mappings > first.mappings + Self.growth.mappings || threads > first.threads + Self.growth.threads
        }

        var text: String { "\(kilobytes) kB, \(descriptors) descriptors, \(mappings) mappings, \(threads) threads" }
    }

    private var first: [pid_t: Figures] = [:]
    private var last: [pid_t: (name: String, figures: Figures)] = [:]
    private var files: (first: Int?, last: Int) = (nil, 0)

    /// By how many more files may be there: the channels are the same all the time.
    private static let moreFiles = 8

    /// - Parameter isFirst: Whether later figures are compared with these.
    mutating func look(at members: [Member], _ root: String, isFirst: Bool) {
        for member in members {
            let figures = Self.figures(member.process)
            if isFirst { first[member.process] = figures }
            last[member.process] = ("\(member.order.role)", figures)
        }
        files.last = Self.files(root).count
        if isFirst { files.first = files.last }
    }

    func problems(_ round: Int) -> [String] {
        var problems: [String] = []
        for (process, (name, figures)) in last {
            guard let first = first[process], figures.exceeds(first) else { continue }
            problems.append("the \(name) uses \(figures.text); after the second round it was \(first.text)")
        }
        if let first = files.first, files.last > first + Self.moreFiles {
            problems.append("there are \(files.last) files; after the second round there were \(first)")
        }
        return problems
    }

    var lines: [(String, String)] {
        var lines: [(String, String)] = []
        for (process, (name, figures)) in last.sorted(by: { $0.key < $1.key }) {
            lines.append(("\(name), at the end", figures.text))
            if let first = first[process] { lines.append(("after the second round", first.text)) }
        }
        lines.append(("files", "\(files.last)" + (files.first.map { ", \($0) after the second round" } ?? "")))
        return lines
    }

    private static func figures(_ process: pid_t) -> Figures {
        var figures = Figures()
        for line in text("/proc/\(process)/status").split(separator: "\n") {
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            guard words.count > 1, let number = Int(words[1]) else { continue }
            if words[0] == "RssAnon:" { figures.kilobytes = number }
            if words[0] == "Threads:" { figures.threads = number }
        }
        figures.mappings = text("/proc/\(process)/maps").count { $0 == "\n" }
        figures.descriptors = names("/proc/\(process)/fd").count
        return figures
    }

    /// All files in the folder, and in those in it.
    static func files(_ root: String) -> [String] {
        names(root).flatMap { name in
            let inside = names("\(root)/\(name)")
            return inside.isEmpty ? [name] : inside.map { "\(name)/\($0)" }
        }
    }

    private static func names(_ path: String) -> [String] {
        guard let folder = opendir(path) else { return [] }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    private static func text(_ path: String) -> String {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return "" }
        defer { close(file) }
        var (bytes, buffer) = ([UInt8](), [UInt8](repeating: 0, count: 16_384))
        while bytes.count < 1 << 22 {
            let count = read(file, &buffer, buffer.count)
            guard count > 0 else { break }
            bytes += buffer.prefix(count)
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
