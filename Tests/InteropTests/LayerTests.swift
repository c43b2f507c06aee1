import Foundation
import Testing

/// The rooms of `IPCChannels`, from the left: a file names types, and calls members, of its own room and of those before it only.
///
/// It reads the sources. A member that a room adds to a type of a room before it is known by its name; where that is also the name of
/// something in a room before it, a call is taken for one of that.
@Suite(.timeLimit(.minutes(15))) struct LayerTests {
    private static let rooms = [
        "Storage", "Log", "WakeUp", "Membership", "Waiting", "Streams", "Work", "Schema", "Registry", "Topic",
        "WorkQueue", "Service", "Latest", "Event", "Foreign", "Ecosystem",
    ]
    private static let folder =
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path + "/Sources/IPCChannels"

    @Test func everyFolderIsARoom() throws {
        let folders = try FileManager.default.contentsOfDirectory(atPath: Self.folder)
        #expect(Set(folders.filter { !$0.contains(".") }) == Set(Self.rooms))
    }

    @Test func nothingCallsUpwards() throws {
        var house = House()
        for (room, name) in Self.rooms.enumerated() {
            let path = Self.folder + "/" + name
            for file in try FileManager.default.contentsOfDirectory(atPath: path).sorted()
            where file.hasSuffix(".swift") {
                let text = try String(contentsOfFile: path + "/" + file, encoding: .utf8)
                house.add("\(name)/\(file)", room, text)
            }
        }
        #expect(house.files.count > 90)
        for call in house.callsUpwards() {
            Issue.record("\(call.file) uses \(call.name), of \(Self.rooms[call.room])")
        }
        #expect(house.types["ChannelMemory"] == 1 && house.members["recoverDeadParticipants"] == [3])
    }

    /// It finds what it is there to find.
    @Test func aCallUpwardsIsFound() {
        var house = House()
        house.add("low", 0, "final class Low {\n    func use(_ high: High) { self.lift() }  // and Higher\n}\n")
        house.add("high", 1, "struct High {}\nextension Low {\n    func lift() {}\n    private func drop() {}\n}\n")
        house.add("higher", 2, "enum Higher {}\n")
        #expect(house.callsUpwards().map(\.name).sorted() == ["High", "lift"])
    }
}

/// What is declared where, and used where.
private struct House {
    struct File {
        let name: String
        let room: Int
        let lines: [[Token]]
    }

    struct Token {
        let text: String
        let before: UInt8
        let after: UInt8
        let column: Int
    }

    private(set) var files: [File] = []
    /// In which room each type is declared first.
    private(set) var types: [String: Int] = [:]
    /// In which rooms a member is added to a type of a room before.
    private(set) var members: [String: Set<Int>] = [:]
    /// The first room in which something of this name is declared.
    private var declarations: [String: Int] = [:]

    private static let typeKeywords: Set = ["struct", "class", "enum", "protocol", "actor", "typealias"]
    private static let memberKeywords: Set = ["func", "var", "let"]

    mutating func add(_ name: String, _ room: Int, _ text: String) {
        let lines = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            .map { Self.tokens(Self.code(Array($0))) }
        files.append(File(name: name, room: room, lines: lines))
        for line in lines where line.first?.column == 0 {
            guard let name = Self.name(in: line, after: Self.typeKeywords) else { continue }
            types[name] = min(types[name] ?? .max, room)
        }
        for token in lines.joined() where token.after == UInt8(ascii: ":") { declare(token.text, room) }
        for line in lines {
            for (keyword, name) in zip(line, line.dropFirst())
            where keyword.text == "case" || Self.memberKeywords.contains(keyword.text) {
                declare(name.text, room)
            }
        }
    }

    private mutating func declare(_ name: String, _ room: Int) {
        declarations[name] = min(declarations[name] ?? .max, room)
    }

    /// Call it once all is added.
    mutating func callsUpwards() -> [(file: String, name: String, room: Int)] {
        for file in files { addMembers(of: file) }
        var calls: [(file: String, name: String, room: Int)] = []
        for file in files {
            var seen: Set<String> = []
            for token in file.lines.joined() where seen.insert(token.text + "\(token.after)\(token.before)").inserted {
                if let room = types[token.text], room > file.room {
                    calls.append((file.name, token.text, room))
                } else if token.before == UInt8(ascii: ".") || token.after == UInt8(ascii: "("),
                    let rooms = members[token.text], let room = rooms.min(), room > file.room,
                    declarations[token.text] ?? .max > file.room
                {
                    calls.append((file.name, token.text, room))
                }
            }
        }
        return calls
    }

    private mutating func addMembers(of file: File) {
        var isOfLowerType = false
        for line in file.lines {
            guard let first = line.first else { continue }
            if first.column == 0 {
                let extended = Self.name(in: line, after: ["extension"])
                isOfLowerType = extended.flatMap { types[$0] }.map { $0 < file.room } ?? false
            } else if isOfLowerType, first.column == 4, !line.contains(where: { $0.text.hasSuffix("private") }),
                let name = Self.name(in: line, after: Self.memberKeywords)
            {
                members[name, default: []].insert(file.room)
            }
        }
    }

    private static func name(in line: [Token], after keywords: Set<String>) -> String? {
        guard let index = line.firstIndex(where: { keywords.contains($0.text) }), index + 1 < line.count else {
            return nil
        }
        return line[index + 1].text
    }

    /// Without what follows `//`, and without the text of strings, but with what is interpolated into them.
    private static func code(_ line: [UInt8]) -> [UInt8] {
        var code: [UInt8] = []
        var (isText, depth, previous) = (false, 0, UInt8(ascii: " "))
        for byte in line {
            switch (isText, depth) {
            case (true, 0):
                if byte == UInt8(ascii: "\""), previous != UInt8(ascii: "\\") { isText = false }
                if byte == UInt8(ascii: "("), previous == UInt8(ascii: "\\") { depth = 1 }
                code.append(UInt8(ascii: " "))
            case (true, _):
                if byte == UInt8(ascii: "(") { depth += 1 }
                if byte == UInt8(ascii: ")") { depth -= 1 }
                code.append(depth > 0 ? byte : UInt8(ascii: " "))
            case (false, _):
                if byte == UInt8(ascii: "/"), previous == UInt8(ascii: "/") { return code }
                isText = byte == UInt8(ascii: "\"")
                code.append(byte)
            }
            previous = byte
        }
        return code
    }

    private static func tokens(_ line: [UInt8]) -> [Token] {
        var tokens: [Token] = []
        var start = 0
        while start < line.count {
            guard isOfName(line[start]) else {
                start += 1
                continue
            }
            let end = line[start...].firstIndex { !isOfName($0) } ?? line.count
            tokens.append(
                Token(
                    text: String(decoding: line[start..<end], as: UTF8.self),
                    before: start > 0 ? line[start - 1] : 0, after: end < line.count ? line[end] : 0, column: start))
            start = end
        }
        return tokens
    }

    private static func isOfName(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
