using System.Text.Json;
using Rlhf.Data;
using Rlhf.Tokenizers;
using Rlhf.Tokenizers.Chat;
using Rlhf.Training.Sft;

namespace Rlhf.Tests.Data;

public class ConversationDatasetTests
{
    [Theory]
    [InlineData("""{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}""", 0)]
    [InlineData("""{"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "a"}]}""", 1)]
    [InlineData("""{"prompt": "q", "completion": "a"}""", 1)]
    [InlineData("""{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}""", 0)]
    [InlineData("""{"conversations": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}""", 0)]
    [InlineData("""{"instruction": "q", "input": "", "output": "a"}""", 1)]
    public void The_usual_forms_give_the_same_conversation(string row, int prompt)
    {
        var conversation = Assert.Single(Load(row));
        Assert.Equal(["user: q", "assistant: a"], conversation.Messages.Select(m => $"{m.Role}: {m.Text}"));
        Assert.Equal(prompt, conversation.PromptMessages);
    }

    [Fact]
    public void An_input_follows_its_instruction() =>
        Assert.Equal("Translate.\n\nHallo", Load("""{"instruction": "Translate.", "input": "Hallo", "output": "Hello"}""")[0].Messages[0].Text);

    [Theory]
    [InlineData("""{"messages": [{"role": "user", "content": "q"}], "tools": [{"name": "f"}]}""")]
    [InlineData("""{"messages": [{"role": "user", "content": "q"}], "tools": "[{\"name\": \"f\"}]", "chat_template_kwargs": {"enable_thinking": false}}""")]
    public void Tools_and_further_variables_reach_the_template(string row)
    {
        var conversation = Load(row)[0];
        Assert.Equal("f", ChatTemplate.FromText("{{ tools[0].name }}").Render(conversation.Messages, conversation.RenderOptions));
    }

    [Theory]
    [InlineData("""{"messages": [{"role": "user"}, "text"]}""", "message 2")]
    [InlineData("""{"messages": []}""", "no messages")]
    [InlineData("""{"messages": "text"}""", "list of messages")]
    [InlineData("""{"conversations": [{"from": "alien", "value": "x"}]}""", "alien")]
    [InlineData("""{"text": "x"}""", "no conversation")]
    [InlineData("""{"messages": [{"role": "user", "content": "q"}], "tools": "no JSON"}""", "tools")]
    [InlineData("""{"messages": [{"role": "user", "content": "\ud800"}]}""", "surrogate")]
    public void What_is_no_conversation_is_refused_with_its_line(string row, string problem)
    {
        var error = Assert.Throws<InvalidDataException>(() => Load("""{"prompt": "q", "completion": "a"}""", row));
        Assert.Contains("line 2", error.Message, StringComparison.Ordinal);
        Assert.Contains(problem, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_loss_counts_what_the_assistant_says_in_every_turn_and_no_more()
    {
        var tokenizer = new ByteLevelBpeTokenizer(Enumerable.Range(0, 256).ToDictionary(b => ByteLevel.Symbol((byte)b).ToString(), b => b), [], new());
        var conversation = Load("""
            {"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "one"}, {"role": "user", "content": "v"}, {"role": "assistant", "content": "two"}]}
            """.Trim())[0];
        string Counted(SftConfig config, Conversation row) => SftExample.FromConversation(row, ChatTemplate.ChatMl, tokenizer, 1000, config)!.ToRow()
            is var (ids, counts) ? tokenizer.Decode(ids.Where((_, t) => counts[t])) : "";
        Assert.Equal("one<|im_end|>two<|im_end|>", Counted(new(), conversation));
        Assert.Equal(ChatTemplate.ChatMl.Render(conversation.Messages), Counted(new() { AssistantOnlyLoss = false }, conversation));
        Assert.Equal("two<|im_end|>", Counted(new(), conversation with { PromptMessages = 3 }));
        // Cut before the assistant has said anything, there is nothing to learn.
        Assert.Null(SftExample.FromConversation(conversation, ChatTemplate.ChatMl, tokenizer, 10, new()));
        Assert.Equal(60, SftExample.FromConversation(conversation, ChatTemplate.ChatMl, tokenizer, 60, new())!.Ids.Length);
    }

    private static IReadOnlyList<Conversation> Load(params string[] rows)
    {
        using var folder = new Fixtures.TemporaryFolder();
        var file = Path.Combine(folder.Path, "chats.jsonl");
        File.WriteAllLines(file, rows);
        return ConversationDataset.Load(file);
    }
}
