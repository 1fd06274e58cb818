using System.Text.Json;

namespace Rlhf.Tests.Cli;

/// <summary>rlhf chat and rlhf generate --chat, with a small Qwen of random weights.</summary>
public sealed class ChatCommandTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();

    public ChatCommandTests()
    {
        File.WriteAllLines(Path.Combine(folder.Path, "texts.txt"), Enumerable.Range(0, 40).Select(i => $"Hello there, this is line {i} of it."));
        RlhfCommand.Succeed(folder.Path, "tokenizer", "train", "--kind", "qwen2", "--dataset", "texts.txt", "--vocab-size", "300", "--output", "tokens");
        RlhfCommand.Succeed(folder.Path, "init", "--model-type", "qwen2", "--tokenizer", "tokens", "--layers", "1", "--hidden-size", "16",
            "--heads", "2", "--max-positions", "96", "--output", "chatty");
    }

    public void Dispose() => folder.Dispose();

    private CommandResult Chat(string input, params string[] flags) => RlhfCommand.RunWithInput(
        folder.Path, input, ["chat", "--model", "chatty", "--max-new-tokens", "8", .. flags]);

    private static (string, string)[] Messages(CommandResult result) => [.. result.Json.GetProperty("messages").EnumerateArray()
        .Select(m => (m.GetProperty("role").GetString()!, m.GetProperty("content").GetString()!))];

    [Fact]
    public void A_pipe_is_a_conversation()
    {
        var result = Chat("Hello\n\nHow are you?\n", "--json", "--system", "Be brief.");
        Assert.Equal(0, result.ExitCode);
        var messages = Messages(result);
        Assert.Equal(["system", "user", "assistant", "user", "assistant"], messages.Select(m => m.Item1));
        Assert.Equal(["Be brief.", "Hello", "How are you?"], [messages[0].Item2, messages[1].Item2, messages[3].Item2]);
        // The first answer is that of the first turn alone, and of generate --chat.
        var alone = RlhfCommand.Succeed(folder.Path, "generate", "--model", "chatty", "--chat", "--system", "Be brief.", "Hello",
            "--max-new-tokens", "8", "--json").Json[0];
        Assert.Equal(messages[2].Item2, alone.GetProperty("response").GetString());
        Assert.StartsWith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n",
            alone.GetProperty("text").GetString());
    }

    [Fact]
    public void Commands_reset_change_the_system_message_and_quit()
    {
        var result = Chat("One\n/reset\n/system Be kind.\n//slash\n/what\n/quit\nnever said\n", "--json");
        Assert.Equal(0, result.ExitCode);
        var messages = Messages(result);
        Assert.Equal([("system", "Be kind."), ("user", "/slash")], messages[..2]);
        Assert.Equal(3, messages.Length);
        Assert.Contains("/what is no command; /help lists what can be typed.", result.Error);
    }

    [Fact]
    public void A_long_conversation_loses_its_oldest_exchanges_and_never_the_system_message()
    {
        var result = Chat(string.Concat(Enumerable.Range(0, 9).Select(i => $"Hello there {i}\n")), "--json", "--system", "Be brief.");
        Assert.Equal(0, result.ExitCode);
        var messages = Messages(result);
        Assert.Equal(("system", "Be brief."), messages[0]);
        Assert.Equal("Hello there 8", messages[^2].Item2);
        Assert.InRange(messages.Length, 3, 11);
        Assert.Contains("oldest messages are left out.", result.Error);
        // One that does not fit alone is refused.
        var refused = Chat(string.Concat(Enumerable.Repeat("Hello there ", 60)) + "\n");
        Assert.Equal(2, refused.ExitCode);
        Assert.Contains("but the model reads at most 96; shorten one of them.", refused.Error);
    }

    [Fact]
    public void A_tokenizer_with_more_tokens_than_the_model_is_refused()
    {
        File.WriteAllLines(Path.Combine(folder.Path, "others.txt"), Enumerable.Range(0, 200)
            .Select(i => $"{string.Concat("abcdefgh".Select(c => (char)(c + i % 17)))} {i * 7919} twice {i * 7919}"));
        RlhfCommand.Succeed(folder.Path, "tokenizer", "train", "--kind", "qwen2", "--dataset", "others.txt", "--vocab-size", "500", "--output", "larger");
        foreach (string file in Directory.GetFiles(Path.Combine(folder.Path, "larger")))
            File.Copy(file, Path.Combine(folder.Path, "chatty", Path.GetFileName(file)), overwrite: true);
        var chat = Chat("Hi\n");
        Assert.Equal(1, chat.ExitCode);
        Assert.Contains("their files do not belong together.", chat.Error);
        var export = RlhfCommand.Run(folder.Path, "export", "--model", "chatty", "--output", "exported");
        Assert.Equal(1, export.ExitCode);
        Assert.Contains("their files do not belong together.", export.Error);
        Assert.False(Directory.Exists(Path.Combine(folder.Path, "exported")));
        Assert.Throws<InvalidDataException>(() => Rlhf.Generation.TextCompleter.FromPretrained(Path.Combine(folder.Path, "chatty")));
    }

    [Fact]
    public void What_can_be_typed_stands_in_the_help()
    {
        string help = RlhfCommand.Succeed(folder.Path, "chat", "--help").Output;
        foreach (string typed in (string[])["/system TEXT", "/reset", "/help", "/quit", "Ctrl-C", "//TEXT"])
            Assert.Contains(typed, help);
    }

    [Fact]
    public void What_a_row_is_follows_from_the_columns_and_is_recorded()
    {
        File.WriteAllLines(Path.Combine(folder.Path, "chats.jsonl"), Enumerable.Range(0, 12).Select(i =>
            $$"""{"messages":[{"role":"user","content":"Hello {{i}}"},{"role":"assistant","content":"there"}]}"""));
        string[] sft = ["sft", "--model", "chatty", "--dataset", "chats.jsonl", "--max-steps", "2", "--batch-size", "4", "--max-length", "64", "--output", "guessed"];
        Assert.Contains("conversations", RlhfCommand.Succeed(folder.Path, sft).Output);
        Assert.Contains("\nformat: conversations\n", File.ReadAllText(Path.Combine(folder.Path, "guessed", "config.yaml")));
        // A column that comes later does not change what a resumed run reads.
        File.WriteAllLines(Path.Combine(folder.Path, "chats.jsonl"), File.ReadAllLines(Path.Combine(folder.Path, "chats.jsonl"))
            .Select(line => line.Replace("{\"messages\"", "{\"text\":\"x\",\"messages\"", StringComparison.Ordinal)));
        var resumed = RlhfCommand.Run(folder.Path, "sft", "--resume", "guessed");
        Assert.True(resumed.ExitCode == 0, resumed.Error);
        var ambiguous = RlhfCommand.Run(folder.Path, [.. sft[..^1], "other"]);
        Assert.Equal(2, ambiguous.ExitCode);
        Assert.Contains("chats.jsonl has the columns \"text\", \"messages\", of which text would make text and messages would make conversations; "
            + "choose by --format text or --format conversations.", ambiguous.Error);
        Assert.Single(ambiguous.Error.Trim().Split('\n'));
        Assert.False(Directory.Exists(Path.Combine(folder.Path, "other")));
        RlhfCommand.Succeed(folder.Path, [.. sft[..^1], "other", "--format", "conversations"]);
    }

    [Fact]
    public void A_model_without_a_template_needs_one()
    {
        RlhfCommand.Succeed(folder.Path, "tokenizer", "train", "--dataset", "texts.txt", "--vocab-size", "300", "--output", "plain");
        RlhfCommand.Succeed(folder.Path, "init", "--tokenizer", "plain", "--layers", "1", "--hidden-size", "16", "--heads", "2",
            "--max-positions", "96", "--output", "base");
        var refused = RlhfCommand.RunWithInput(folder.Path, "Hi\n", "chat", "--model", "base");
        Assert.Equal(1, refused.ExitCode);
        Assert.Contains("base has no chat template: name a file with one by --chat-template FILE", refused.Error);
        Assert.Equal(0, RlhfCommand.RunWithInput(folder.Path, "Hi\n", "chat", "--model", "base", "--chat-template", "chatml",
            "--max-new-tokens", "4").ExitCode);
        var unused = RlhfCommand.Run(folder.Path, "generate", "--model", "chatty", "--system", "Be brief.", "Hi");
        Assert.Equal((2, true), (unused.ExitCode, unused.Error.Contains("--system is for --chat", StringComparison.Ordinal)));
    }
}
