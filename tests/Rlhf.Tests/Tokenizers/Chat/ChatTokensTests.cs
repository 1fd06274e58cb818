using System.Text.Json;
using Rlhf.Tokenizers;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Tests.Tokenizers.Chat;

/// <summary>What the assistant says, in templates that do not mark it.</summary>
public class ChatTokensTests
{
    private static readonly ChatMessage[] Turns =
    [
        new("system", "Be brief."), new("user", "one"), new("assistant", "two"), new("user", "three"), new("assistant", " four "),
    ];

    [Theory]
    [InlineData("{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
        "two<|end|>", " four <|end|>")]
    [InlineData("{% for m in messages %}{{ m.role }}: {{ m.content|trim }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}",
        "two\n", "four\n")]
    // Thoughts are left out of earlier turns, so that no rendering is the beginning of the next.
    [InlineData("{% for m in messages %}<{{ m.role }}>{% if loop.last and m.role == 'assistant' %}<think></think>{% endif %}{{ m.content }}</s>"
        + "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}", "two</s>", "<think></think> four </s>")]
    public void Each_answer_is_what_stands_behind_its_header_with_its_end_token(string source, string first, string second)
    {
        var template = ChatTemplate.FromText(source);
        var tokenizer = Characters();
        var chat = template.Encode(tokenizer, Turns);
        Assert.Equal(template.Render(Turns), tokenizer.Decode(chat.Ids));
        Assert.Equal(first + second, tokenizer.Decode(chat.Ids.Where((_, t) => chat.FromAssistant[t])));
    }

    [Fact]
    public void The_built_in_template_marks_what_the_assistant_says()
    {
        var tokenizer = Characters();
        var chat = ChatTemplate.ChatMl.Encode(tokenizer, Turns);
        Assert.Equal("two<|im_end|> four <|im_end|>", tokenizer.Decode(chat.Ids.Where((_, t) => chat.FromAssistant[t])));
    }

    [Fact]
    public void The_built_in_template_joins_the_texts_of_parts()
    {
        var parts = JsonDocument.Parse("""{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]}""");
        Assert.Equal("<|im_start|>user\nab<|im_end|>\n", ChatTemplate.ChatMl.Render([ChatMessage.FromJson(parts.RootElement)]));
    }

    [Fact]
    public void Answers_that_the_template_changes_are_refused_with_what_to_do()
    {
        var template = ChatTemplate.FromText("{% for m in messages %}{{ m.content|upper }}{% if loop.length > 3 %}!{% endif %}{% endfor %}");
        var error = Assert.Throws<ChatTemplateException>(() => template.Encode(Characters(), Turns));
        Assert.Contains("{% generation %}", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_folder_without_a_template_names_the_flag_and_the_built_in_one()
    {
        using var folder = new Fixtures.TemporaryFolder();
        var error = Assert.Throws<ChatTemplateException>(() => ChatTemplate.FromFolder(folder.Path));
        Assert.Contains("--chat-template FILE", error.Message, StringComparison.Ordinal);
        Assert.Contains("chatml", error.Message, StringComparison.Ordinal);
        File.WriteAllText(Path.Combine(folder.Path, "chat_template.jinja"), "{{ messages[0].nope.nope }}");
        error = Assert.Throws<ChatTemplateException>(() => ChatTemplate.FromFolder(folder.Path).Render(Turns));
        Assert.Equal(1, error.Line);
        File.WriteAllText(Path.Combine(folder.Path, "chat_template.jinja"), "{{ bos_token }}{{ messages[1].content }}");
        File.WriteAllText(Path.Combine(folder.Path, "tokenizer_config.json"), """{"bos_token": {"content": "<s>"}, "chat_template": "old"}""");
        Directory.CreateDirectory(Path.Combine(folder.Path, "additional_chat_templates"));
        File.WriteAllText(Path.Combine(folder.Path, "additional_chat_templates", "rag.jinja"), "R");
        var template = ChatTemplate.FromFolder(folder.Path);
        Assert.Equal("<s>one", template.Render(Turns));
        Assert.Equal("R", template.Render(Turns, new() { Template = "rag" }));
    }

    /// <summary>A byte-level tokenizer without merges: one token for each byte.</summary>
    private static ByteLevelBpeTokenizer Characters() => new(
        Enumerable.Range(0, 256).ToDictionary(b => ByteLevel.Symbol((byte)b).ToString(), b => b), [], new());
}
