// Pipes: a parent and its child, and a pipeline as a shell builds it.
import IPC

@main
struct Pipes {
    static func main() async throws {
        // Parent to child: the child's standard input is the reading end.
        let pipe = try AnonymousPipe()
        let child = try ChildProcess("tr", ["a-z", "A-Z"], descriptors: [0: pipe.reader.descriptor])
        // Each side closes the end that it does not use, or the end of the stream never comes.
        let writer = pipe.closingReader()
        try await writer.write("hello, child\n".utf8.span.bytes)
        try writer.close()
        print("the child ended with", try await child.wait(until: .after(.seconds(10))))

        // ls -l | grep .txt | wc -l
        let result = try await Pipeline([["ls", "-l"], ["grep", "\\.txt"], ["wc", "-l"]]).run()
        print("text files here:", result.text, terminator: "")
        for stage in result.stages { print(stage.command.program, stage.outcome) }
    }
}
