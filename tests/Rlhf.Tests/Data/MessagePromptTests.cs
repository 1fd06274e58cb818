using Rlhf.Data;
using Rlhf.Tokenizers;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Tests.Data;

/// <summary>Prompts and pairs whose texts are lists of messages.</summary>
public class MessagePromptTests
{
    private static readonly ChatTemplate Template = ChatTemplate.FromText(
        "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
        specialTokens: new Dictionary<string, string> { ["bos_token"] = "<s>" });

    [Theory]
    [InlineData("""{"prompt": [{"role": "user", "content": "q"}], "answer": "42", "id": 7}""")]
    [InlineData("""{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "left out"}], "answer": "42", "id": 7}""")]
    public void A_prompt_of_messages_ends_where_the_assistant_begins_to_answer(string row)
    {
        var tokenizer = WithBegin();
        var query = Assert.Single(Queries(tokenizer, Template, row));
        Assert.Equal("<user>q</s><assistant>", query.Text);
        Assert.Equal([256, .. tokenizer.Encode(query.Text, addSpecialTokens: false)], query.TokenIds); // begins once
        Assert.Equal("q", Assert.Single(query.Messages!).Text);
        Assert.Equal(("42", 7L), ((string?)query.Fields["answer"], (long)query.Fields["id"]!));
    }

    [Fact]
    public void Texts_are_whole_prompts_and_messages_without_a_template_name_the_flag()
    {
        Assert.Equal("All of it, and more.", Assert.Single(Queries(WithBegin(), null, """{"prompt": "All of it, and more."}""")).Text);
        var error = Assert.Throws<InvalidDataException>(() => Queries(WithBegin(), null, """{"prompt": [{"role": "user", "content": "q"}]}"""));
        Assert.Contains("line 1", error.Message, StringComparison.Ordinal);
        Assert.Contains("--chat-template FILE", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"prompt": [{"role": "user", "content": "q"}], "chosen": [{"role": "assistant", "content": "a"}], "rejected": [{"role": "assistant", "content": "b"}]}""")]
    [InlineData("""{"prompt": "q", "chosen": [{"role": "assistant", "content": "a"}], "rejected": [{"role": "assistant", "content": "b"}]}""")]
    // UltraFeedback's form: the prompt again, and whole conversations.
    [InlineData("""{"prompt": "q", "chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "rejected": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "b"}]}""")]
    [InlineData("""{"chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "rejected": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "b"}]}""")]
    public void Answers_of_messages_become_the_templates_text(string row)
    {
        var pair = Assert.Single(Pairs(Template, row));
        Assert.Equal(new PreferencePair("<s><user>q</s><assistant>", "a</s>", "b</s>") { IsRendered = true }, pair);
    }

    [Theory]
    [InlineData("""{"chosen": [{"role": "assistant", "content": "a"}], "rejected": [{"role": "assistant", "content": "b"}]}""", "no prompt")]
    [InlineData("""{"prompt": "q", "chosen": [{"role": "assistant", "content": "a"}], "rejected": []}""", "no messages")]
    [InlineData("""{"prompt": "q", "chosen": [{"role": "assistant", "content": "a"}], "rejected": null}""", "rejected answer is missing")]
    public void Pairs_that_cannot_be_used_are_refused_with_their_line(string row, string problem)
    {
        var error = Assert.Throws<InvalidDataException>(() => Pairs(Template, row));
        Assert.Contains("line 1", error.Message, StringComparison.Ordinal);
        Assert.Contains(problem, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_text_that_the_template_has_begun_and_ended_gets_no_second_begin_or_end_token()
    {
        var tokenizer = WithBegin();
        var expected = tokenizer.EncodeCompletion("q ", "a", 100);
        Assert.Equal(expected, tokenizer.EncodeCompletion("<s>q ", "a", 100));
        Assert.Equal(256, expected[0]);
        // Too long, it loses the beginning of its prompt and keeps the begin token.
        Assert.Equal(tokenizer.EncodeCompletion("long prompt ", "answer", 10), tokenizer.EncodeCompletion("<s>long prompt ", "answer", 10));
    }

    private static ByteLevelBpeTokenizer WithBegin() => new(
        Enumerable.Range(0, 256).ToDictionary(b => ByteLevel.Symbol((byte)b).ToString(), b => b), [],
        new() { AddedTokens = [new("<s>", 256)], Template = new([256], [], [256], [], []) });

    private static IReadOnlyList<Query> Queries(ITokenizer tokenizer, ChatTemplate? template, params string[] rows) =>
        Read(rows, file => QueryDataset.Load(file, tokenizer, new() { Template = template }));

    private static IReadOnlyList<PreferencePair> Pairs(ChatTemplate template, params string[] rows) =>
        Read(rows, file => PreferenceDataset.Load(file, new() { Template = template }));

    private static T Read<T>(string[] rows, Func<string, T> load)
    {
        using var folder = new Fixtures.TemporaryFolder();
        var file = Path.Combine(folder.Path, "rows.jsonl");
        File.WriteAllLines(file, rows);
        return load(file);
    }
}
