import Foundation
import Glibc
import IPC
import TestSupport
import Testing

@testable import IPCTool

/// Every piece of Swift in the documentation compiles: those of the doc comments, those of the README, and those that
/// `ipc choose` prints.
@Suite(.timeLimit(.minutes(10))) struct DocumentationTests {
    /// What the examples use without saying where it comes from.
    private static let prelude = """
        import Foundation
        import IPC
        import IPCChannels
        import SystemPackage

        struct Camera { func read(into frame: inout OutputRawSpan) {} }
        struct Parcel: Codable {}
        func ship<Value>(_ value: Value) {}
        func updateIndex() {}
        func rebuildIndex() {}
        func resetPrices() {}
        func shutDown() {}
        """

    private static let context = """
        mapping: MemoryMapping, mutex: SharedMutex, notEmpty: SharedCondition, deadline: Deadline, count: Int,
        queue: borrowing MessageQueue, bytes: [UInt8], socket: borrowing StreamSocket, header: RawSpan,
        received: consuming OwnedDescriptor, file: borrowing MappedFile, publisher: inout Publisher<RawBytes>,
        camera: Camera, parcel: Parcel, buffer: inout MutableRawSpan, answer: RawSpan
        """

    private struct Piece {
        let place: String
        var lines: [String] = []
    }

    private func pieces(_ path: String, prefix: String) throws -> [Piece] {
        var pieces: [Piece] = []
        var current: Piece?
        for (index, line) in try String(contentsOfFile: path, encoding: .utf8).components(separatedBy: "\n")
            .enumerated()
        {
            let trimmed = line.drop { $0 == " " }
            guard trimmed.hasPrefix(prefix) else { continue }
            let text = String(trimmed.dropFirst(prefix.count))
            switch text.trimmingCharacters(in: .whitespaces) {
            case "```swift": current = Piece(place: "\(path):\(index + 1)")
            case "```":
                if let piece = current { pieces.append(piece) }
                current = nil
            default: current?.lines.append(prefix.isEmpty ? line : text)
            }
        }
        return pieces
    }

    @Test func examplesInTheDocumentationCompile() throws {
        let repository = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        var all = try pieces(repository.path + "/README.md", prefix: "")
        for folder in ["Sources/IPC", "Sources/IPCChannels"] {
            let files = FileManager.default.enumerator(atPath: repository.path + "/" + folder)
            // What traits bring is not in this build; `Tests/Ecosystem` uses it.
            for case let file as String in try #require(files)
            where file.hasSuffix(".swift") && !file.hasPrefix("Ecosystem/") {
                all += try pieces("\(repository.path)/\(folder)/\(file)", prefix: "///")
            }
        }
        all.removeAll { $0.lines.contains { $0.contains(".package(path:") } }
        all += Advice.all.enumerated().map { index, code in
            Piece(place: "advice:\(index)", lines: code.components(separatedBy: "\n"))
        }
        #expect(all.count > 40)

        let source = "/tmp/\(uniqueName()).swift"
        defer { unlink(source) }
        var text = Self.prelude + "\n"
        for (number, piece) in all.enumerated() {
            let imports = piece.lines.filter { $0.drop { $0 == " " }.hasPrefix("import ") }
            text += imports.joined(separator: "\n")
            let effects = piece.lines.contains { $0.contains("await ") } ? "() async" : "(\(Self.context))"
            text += "\nfunc example\(number)\(effects) throws {\n"
            text +=
                "#sourceLocation(file: \"\(piece.place.split(separator: ":")[0])\", line: \(Int(piece.place.split(separator: ":")[1])! + 1))\n"
            text += piece.lines.filter { !$0.drop { $0 == " " }.hasPrefix("import ") }.joined(separator: "\n")
            text += "\n#sourceLocation()\n}\n"
        }
        try text.write(toFile: source, atomically: true, encoding: .utf8)

        // The modules of this build, and the maps of the C ones.
        var arguments = [
            "-typecheck", "-swift-version", "6", "-suppress-warnings", "-I", productsFolder + "/Modules", source,
        ]
        for map in ["\(repository.path)/Sources/CIPCShims/include", "\(productsFolder)/CIPCShims.build"]
        where FileManager.default.fileExists(atPath: map + "/module.modulemap") {
            arguments += ["-Xcc", "-fmodule-map-file=\(map)/module.modulemap"]
        }
        let checkouts = URL(filePath: productsFolder).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "checkouts")
        let system = "\(checkouts.path)/swift-system/Sources/CSystem/include"
        arguments += ["-Xcc", "-fmodule-map-file=\(system)/module.modulemap"]
        let errors = try AnonymousPipe(capacity: 1 << 20)
        let compiler = try Peer("swiftc", arguments, descriptors: [2: errors.writer.descriptor])
        let (status, _) = try compiler.finish(within: .seconds(120))
        let messages = String(
            decoding: try errors.closingWriter().readToEnd(until: .after(.seconds(10))), as: UTF8.self)
        #expect(status == .exited(0), "\(messages)")
    }
}
