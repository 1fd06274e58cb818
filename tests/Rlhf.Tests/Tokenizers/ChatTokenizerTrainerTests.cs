using Rlhf.Tokenizers;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Tests.Tokenizers;

/// <summary>Vocabularies in the form of today's chat models.</summary>
public sealed class ChatTokenizerTrainerTests : IDisposable
{
    private static readonly string[] Texts = [.. Enumerable.Range(0, 60).Select(i => $"It's film {1000 + i}: we'LL see the étude again and again. ")];

    private readonly Fixtures.TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData(ChatTokenizerKind.Llama3, "<|begin_of_text|>", "<|eot_id|>", 6)]
    [InlineData(ChatTokenizerKind.Qwen2, null, "<|im_end|>", 3)]
    public void It_is_saved_and_read_as_it_was_trained(ChatTokenizerKind kind, string? bos, string eos, int special)
    {
        var tokenizer = ChatTokenizerTrainer.Train(Texts, kind, 320);
        int size = tokenizer.VocabSize;
        tokenizer.SavePretrained(folder.Path);
        var opened = AutoTokenizer.FromPretrained(folder.Path);
        Assert.Equal(size, opened.VocabSize);
        Assert.InRange(size, 257 + special, 320);
        Assert.Equal((bos, eos), (opened.BosTokenId is { } id ? opened.IdToToken(id) : null, opened.IdToToken(opened.EosTokenId!.Value)));
        string text = $"{eos}It's 1234 e\u0301tudes\n";
        Assert.Equal(tokenizer.Encode(text), opened.Encode(text));
        Assert.Equal(bos is null ? [] : [opened.BosTokenId!.Value], opened.Encode(""));
        Assert.Equal(opened.EosTokenId, opened.OfRendered(text)[0]);
        Assert.Equal(kind == ChatTokenizerKind.Qwen2 ? text.Replace("e\u0301", "é", StringComparison.Ordinal) : text,
            opened.Decode(opened.OfRendered(text)));
        // The special tokens come last; "again" repeats often enough to be a token.
        Assert.Equal(size - special, Enumerable.Range(0, size).First(i => opened.IdToToken(i).StartsWith("<|", StringComparison.Ordinal)));
        Assert.NotNull(opened.TokenToId("Ġagain"));
        Assert.True(File.Exists(Path.Combine(folder.Path, "chat_template.jinja")));
    }

    [Fact]
    public void Its_template_writes_conversations_as_the_family_does()
    {
        string Conversation(ChatTokenizerKind kind)
        {
            ChatTokenizerTrainer.Train(Texts, kind, 320).SavePretrained(folder.Path);
            return ChatTemplate.FromFolder(folder.Path).Render(
                [new("user", "Who are you?"), new("assistant", "A film.")], new() { AddGenerationPrompt = true });
        }
        Assert.Equal("<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nWho are you?<|eot_id|>"
            + "<|start_header_id|>assistant<|end_header_id|>\n\nA film.<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
            Conversation(ChatTokenizerKind.Llama3));
        Assert.Equal("<|im_start|>user\nWho are you?<|im_end|>\n<|im_start|>assistant\nA film.<|im_end|>\n<|im_start|>assistant\n",
            Conversation(ChatTokenizerKind.Qwen2));
    }

    [Fact]
    public void Digits_stand_as_the_family_groups_them()
    {
        int Digits(ChatTokenizerKind kind) => ChatTokenizerTrainer.Train(["1234 1234 1234 1234 1234"], kind, 300).OfContinuation("1234").Length;
        Assert.Equal(2, Digits(ChatTokenizerKind.Llama3)); // 123 4
        Assert.Equal(4, Digits(ChatTokenizerKind.Qwen2));
    }

    [Fact]
    public void A_vocabulary_without_room_is_refused() =>
        Assert.Contains("256 tokens and 6 special ones", Assert.Throws<ArgumentException>(
            () => ChatTokenizerTrainer.Train(Texts, ChatTokenizerKind.Llama3, 260)).Message);
}
