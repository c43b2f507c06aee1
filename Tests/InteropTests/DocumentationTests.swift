import Foundation
import Glibc
import IPC
import TestSupport
import Testing

@testable import IPCTool

/// Every piece of Swift in the documentation compiles: those of the doc comments, those of both READMEs and of the pages in
/// `Documentation`, those that `ipc choose` prints, and those of the DocC catalogues, each of which is a whole file.
@Suite(.timeLimit(.minutes(15))) struct DocumentationTests {
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
        received: consuming OwnedDescriptor, file: borrowing MappedFile, publisher: inout Topic<RawBytes>.Publisher,
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
        let repository = SwiftCompiler.repository
        var pages = ["README.md", "README.ko.md"]
        let documentation = FileManager.default.enumerator(atPath: repository + "/Documentation")
        // The guide's are quoted from the examples, which are compiled (`GuideTests`).
        for case let page as String in try #require(documentation)
        where page.hasSuffix(".md") && !page.hasPrefix("guide/") {
            pages.append("Documentation/" + page)
        }
        var all: [Piece] = []
        for page in pages { all += try pieces("\(repository)/\(page)", prefix: "") }
        for folder in ["Sources/IPC", "Sources/IPCChannels"] {
            let files = FileManager.default.enumerator(atPath: repository + "/" + folder)
            // What traits bring is not in this build; `Tests/Ecosystem` uses it.
            for case let file as String in try #require(files)
            where file.hasSuffix(".swift") && !file.hasPrefix("Ecosystem/") {
                all += try pieces("\(repository)/\(folder)/\(file)", prefix: "///")
            }
        }
        // Manifests are not compiled.
        all.removeAll { $0.lines.contains { $0.contains(".package(") } }
        all += Advice.all.enumerated().map { index, code in
            Piece(place: "advice:\(index)", lines: code.components(separatedBy: "\n"))
        }
        #expect(all.count > 40)

        var text = Self.prelude + "\n"
        for (number, piece) in all.enumerated() {
            let imports = piece.lines.filter { $0.drop { $0 == " " }.hasPrefix("import ") }
            text += imports.joined(separator: "\n")
            let effects = piece.lines.contains { $0.contains("await ") } ? "() async" : "(\(Self.context))"
            text += "\nfunc example\(number)\(effects) throws {\n"
            text += Self.location(piece)
            text += piece.lines.filter { !$0.drop { $0 == " " }.hasPrefix("import ") }.joined(separator: "\n")
            text += "\n#sourceLocation()\n}\n"
        }
        let (status, messages) = try SwiftCompiler.compile(["examples": text], ["-typecheck", "-suppress-warnings"])
        #expect(status == .exited(0), "\(messages)")
    }

    /// An article's example has all its imports, and none of what the others have: it compiles as it is.
    @Test func examplesOfTheArticlesCompile() throws {
        var all: [Piece] = []
        for module in ["IPC", "IPCChannels"] {
            let catalogue = "\(SwiftCompiler.repository)/Sources/\(module)/\(module).docc"
            for page in try FileManager.default.contentsOfDirectory(atPath: catalogue) where page.hasSuffix(".md") {
                all += try pieces("\(catalogue)/\(page)", prefix: "")
            }
        }
        #expect(all.count >= 22)

        var sources: [String: String] = [:]
        for (number, piece) in all.enumerated() {
            sources["example\(number)"] = Self.location(piece) + piece.lines.joined(separator: "\n") + "\n"
        }
        // As far as the checks of what cannot be copied.
        let (status, messages) = try SwiftCompiler.compile(
            sources, Self.toChecks + ["-parse-as-library", "-whole-module-optimization", "-warnings-as-errors"])
        #expect(status == .exited(0), "\(messages)")
    }

    /// It cannot be copied, and unlocking takes it.
    @Test func unlockingTwiceWithOneTokenDoesNotCompile() throws {
        func program(_ unlocks: Int) -> [String: String] {
            let unlocking = String(repeating: "try lock.unlock(token)\n", count: unlocks)
            return [
                "unlocking":
                    "import IPC\nfunc read(_ lock: SharedReadWriteLock) throws {\nlet token = try lock.lockForReading()\n\(unlocking)}\n"
            ]
        }
        let once = try SwiftCompiler.compile(program(1), Self.toChecks)
        #expect(once.status == .exited(0), "\(once.messages)")
        let twice = try SwiftCompiler.compile(program(2), Self.toChecks)
        #expect(twice.status != .exited(0))
        #expect(twice.messages.contains("'token' consumed more than once"), "\(twice.messages)")
    }

    private static let toChecks = ["-emit-sil", "-o", "/dev/null"]

    /// So that an error names the page.
    private static func location(_ piece: Piece) -> String {
        let parts = piece.place.split(separator: ":")
        return "#sourceLocation(file: \"\(parts[0])\", line: \(Int(parts[1])! + 1))\n"
    }
}
