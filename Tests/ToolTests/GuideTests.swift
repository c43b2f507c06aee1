import Foundation
import Testing

/// The pages of `Documentation/guide`: the same in both languages, and quoting only what is there. The figures of the DocC articles
/// are quoted as well.
///
/// A failure after an example or the figures of `results.md` have changed says which page has to be copied anew.
@Suite(.timeLimit(.minutes(15))) struct GuideTests {
    private struct Block: Equatable {
        let language: String
        var lines: [String] = []
    }

    private struct Page {
        let name: String
        var blocks: [Block] = []
        /// The lines outside of code blocks.
        var prose: [String] = []

        init(_ folder: String, _ name: String) throws {
            self.name = name
            var current: Block?
            for line in try GuideTests.lines(folder + "/" + name) {
                if line.hasPrefix("```") {
                    if let block = current {
                        blocks.append(block)
                        current = nil
                    } else {
                        current = Block(language: String(line.dropFirst(3)))
                    }
                } else if current != nil {
                    current?.lines.append(line)
                } else {
                    prose.append(line)
                }
            }
            #expect(current == nil, "\(name): a code block does not end")
        }

        /// The level of each heading.
        var headings: [Int] {
            prose.filter { $0.hasPrefix("#") }.map { line in line.prefix { $0 == "#" }.count }
        }

        /// The targets of all links and images.
        var links: [String] {
            prose.flatMap { line in line.matches(of: #/\]\(([^)]+)\)/#).map { String($0.output.1) } }
        }

        var images: [String] { links.filter { $0.hasSuffix(".svg") } }
    }

    private static let repository = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path
    private static let folder = repository + "/Documentation/guide"

    private static func lines(_ path: String) throws -> [String] {
        try String(contentsOfFile: path, encoding: .utf8).components(separatedBy: "\n")
    }

    private func names(in folder: String, _ suffix: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(suffix) }.sorted()
    }

    private func pages() throws -> [Page] {
        let pages = try names(in: Self.folder, ".md").map { name in try Page(Self.folder, name) }
        #expect(pages.count >= 26)
        return pages
    }

    private func withoutIndentation(_ lines: [String]) -> [String] {
        let common = lines.filter { !$0.isEmpty }.map { line in line.prefix { $0 == " " }.count }.min() ?? 0
        return lines.map { String($0.dropFirst(common)) }
    }

    private func withoutAlignment(_ line: String) -> String { line.split(separator: " ").joined(separator: " ") }

    /// Headings, code blocks and pictures; the code is the same, and so are the figures.
    @Test func eachPageIsThereInBothLanguages() throws {
        let pages = try pages()
        for page in pages {
            let isKorean = page.name.hasSuffix(".ko.md")
            let other = String(page.name.dropLast(isKorean ? 6 : 3)) + (isKorean ? ".md" : ".ko.md")
            let twin = try #require(pages.first { $0.name == other }, "\(page.name) has no \(other)")
            #expect(page.headings == twin.headings, "\(page.name)")
            #expect(page.blocks == twin.blocks, "\(page.name)")
            #expect(page.images == twin.images, "\(page.name)")
            #expect(page.images.count == 1, "\(page.name)")
            #expect(page.links.contains(other), "\(page.name) has no link to \(other)")
        }
    }

    @Test func quotedSwiftIsInAnExample() throws {
        let examples = Self.repository + "/Examples"
        var sources: [[String]] = []
        for example in try FileManager.default.contentsOfDirectory(atPath: examples) {
            for name in try names(in: examples + "/" + example, ".swift") {
                sources.append(try Self.lines(examples + "/" + example + "/" + name))
            }
        }
        var quoteCount = 0
        for page in try pages() {
            for block in page.blocks where block.language == "swift" {
                quoteCount += 1
                let isFound = sources.contains { isQuoted(block.lines, from: $0) }
                #expect(isFound, "\(page.name) quotes what no example has:\n\(block.lines.joined(separator: "\n"))")
            }
        }
        #expect(quoteCount >= 24)
    }

    private func isQuoted(_ lines: [String], from source: [String]) -> Bool {
        guard !lines.isEmpty, lines.count <= source.count else { return false }
        let quote = withoutIndentation(lines)
        return (0...source.count - lines.count).contains { start in
            withoutIndentation(Array(source[start..<start + lines.count])) == quote
        }
    }

    /// Those of the DocC catalogues.
    private func articles() throws -> [Page] {
        let articles = try ["IPC", "IPCChannels"].flatMap { module in
            let catalogue = "\(Self.repository)/Sources/\(module)/\(module).docc"
            return try names(in: catalogue, ".md").map { name in try Page(catalogue, name) }
        }
        #expect(articles.count >= 25)
        return articles
    }

    /// Each line of a table of figures is among the results, perhaps with more columns; so is each figure in a sentence.
    @Test func figuresAreThoseOfTheResults() throws {
        let results = try Self.lines(Self.repository + "/Documentation/results.md").map(withoutAlignment)
        for page in try pages() + articles() {
            for block in page.blocks where block.language == "text" {
                for line in block.lines.map(withoutAlignment) {
                    let isThere = results.contains { $0.contains(line) }
                    #expect(isThere, "\(page.name): \(line)")
                }
            }
            for line in page.prose {
                for match in line.matches(of: #/[0-9][0-9.,]* (?:ns|µs|ms|[GM]B\/s|[Mk]\/s)/#) {
                    let figure = String(match.output)
                    let isThere = results.contains { $0.contains(figure) }
                    #expect(isThere, "\(page.name): \(figure)")
                }
            }
        }
    }

    @Test func whatIsLinkedExists() throws {
        for page in try pages() {
            for link in page.links where !link.hasPrefix("https://") {
                let path = link.prefix { $0 != "#" }
                #expect(FileManager.default.fileExists(atPath: Self.folder + "/" + path), "\(page.name): \(link)")
            }
        }
    }

    @Test func picturesAreWellFormed() throws {
        let images = Self.folder + "/images"
        let pictures = try names(in: images, ".svg")
        #expect(pictures.count >= 13)
        let shown = Set(try pages().flatMap(\.images))
        for name in pictures {
            let text = try String(contentsOfFile: images + "/" + name, encoding: .utf8)
            #expect(text.hasPrefix("<svg ") && text.hasSuffix("</svg>\n"), "\(name)")
            #expect(isBalanced(text), "\(name): an element does not end")
            #expect(shown.contains("images/" + name), "\(name) is on no page")
        }
    }

    /// Whether each element that begins ends, in the right order.
    private func isBalanced(_ text: String) -> Bool {
        let tags = text.matches(of: #/<(\/?)([A-Za-z]+)[^<>]*?(\/?)>/#)
        guard tags.count == text.filter({ $0 == "<" }).count else { return false }
        var open: [Substring] = []
        for tag in tags {
            let (_, slash, name, selfClosing) = tag.output
            if !slash.isEmpty {
                guard open.popLast() == name else { return false }
            } else if selfClosing.isEmpty {
                open.append(name)
            }
        }
        return open.isEmpty
    }
}
