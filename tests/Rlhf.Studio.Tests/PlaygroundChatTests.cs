using System.Net;
using Rlhf.Generation;
using Rlhf.Studio.Playground;
using Rlhf.Tokenizers;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Studio.Tests;

/// <summary>Two models answer messages side by side, each as it answers alone.</summary>
[Collection("toy chats")]
public sealed class PlaygroundChatTests(ToyChats toys)
{
    /// <summary>Without chance, so that what is expected can be computed by other means.</summary>
    private static readonly GenerationConfig Greedy = new() { DoSample = false, RepetitionPenalty = 3, MaxNewTokens = 20 };

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private static async Task<IReadOnlyList<WrittenAnswer>> Ask(StudioServer studio, ChatMessage[] before, ChatMessage[] after, GenerationConfig? sampling = null)
    {
        var answers = WrittenAnswer.Both();
        var choice = studio.Service<ModelChoices>().List()[0];
        await foreach (var happened in studio.Service<SideBySide>().Answer(new ChatQuestion(before, after, choice, sampling ?? Greedy, 1), Stop))
            WrittenAnswer.Give(answers, happened);
        return answers;
    }

    private async Task<TextCompletion> Alone(string model, ChatMessage[] messages, int tokens = 20)
    {
        using var chat = ChatCompleter.FromPretrained(toys.PathOf(model));
        return await chat.CompleteAsync(messages, new() { Sampling = Greedy }, tokens, cancellation: Stop);
    }

    [Fact]
    public async Task Each_answers_in_its_own_template_and_its_own_conversation()
    {
        await using var studio = await StudioServer.StartAsync(toys.Options("other"));
        ChatMessage[] before = [new("system", "Be kind."), new("user", "Hello"), new("assistant", "There"), new("user", "And you?")];
        ChatMessage[] after = [before[0], before[1], new("assistant", "Friend, hello"), before[3]];
        var answers = await Ask(studio, before, after);
        var (beforeAlone, afterAlone) = (await Alone("before", before), await Alone("other", after));
        Assert.Equal((beforeAlone.Text, afterAlone.Text), (answers[0].Text, answers[1].Text));
        Assert.NotEqual(answers[0].Text, answers[1].Text);
        Assert.Equal(beforeAlone.CompletionTokens, answers[0].Result!.Tokens);
        Assert.Equal(afterAlone.CompletionTokens, answers[1].Result!.Tokens);
        // other/ writes what after/ would in the template that the test spells out.
        using var completer = TextCompleter.FromPretrained(toys.PathOf("after"));
        int[] written = completer.Tokenizer.OfRendered("S: Be kind.\nQ: Hello\nA: Friend, hello<|im_end|>\nQ: And you?\nA: ");
        var spelled = await completer.CompleteAsync(written,
            new() { Sampling = Greedy, StopTokenIds = [completer.Tokenizer.TokenToId("<|im_end|>")!.Value] }, Stop);
        Assert.Equal(spelled.Text, answers[1].Text);
    }

    [Fact]
    public async Task Shades_compare_both_models_on_the_same_tokens_after_the_same_conversation()
    {
        await using var studio = await StudioServer.StartAsync(toys.Options());
        ChatMessage[] messages = [new("user", "Hello there")];
        var answers = await Ask(studio, messages, messages);
        using TextCompleter before = TextCompleter.FromPretrained(toys.PathOf("before")), after = TextCompleter.FromPretrained(toys.PathOf("after"));
        int[] prompt = before.Tokenizer.OfRendered("<|im_start|>user\nHello there<|im_end|>\n<|im_start|>assistant\n");
        foreach (var (answer, model) in answers.Zip(["before", "after"]))
        {
            int[] whole = [.. prompt, .. (await Alone(model, messages)).TokenIds];
            var (low, high) = ((await before.ScoreAsync([whole], 0, Stop))[0].Skip(prompt.Length - 1), (await after.ScoreAsync([whole], 0, Stop))[0].Skip(prompt.Length - 1));
            Assert.NotEmpty(whole[prompt.Length..].Distinct().Skip(3)); // something is compared
            double[] expected = [.. high.Zip(low, (h, l) => (double)(h.Logprob - l.Logprob))];
            Assert.Equal(expected.Length, answer.Tokens.Count);
            for (int i = 0; i < expected.Length; i++)
                Assert.Equal(expected[i], answer.Tokens[i].LogRatio!.Value, 1e-3);
            Assert.Equal(expected.Sum(), answer.Result!.LogRatio!.Value, 1e-2);
        }
    }

    [Fact]
    public async Task A_text_that_ends_the_assistants_turn_ends_the_answer_and_is_not_shown()
    {
        ChatMessage[] messages = [new("user", "Hello")];
        // Where no token ends a turn, its text does: here one that this model does write.
        string whole = (await Alone("after", messages, 40)).Text;
        string ends = whole.Substring(whole.Length / 2, 4);
        Assert.DoesNotContain('\uFFFD', ends);
        string folder = toys.PathOf("ends-by-text");
        Directory.CreateDirectory(folder);
        foreach (string file in Directory.GetFiles(toys.PathOf("after")))
            File.Copy(file, Path.Combine(folder, Path.GetFileName(file)), overwrite: true);
        string template = ChatTemplate.FromFolder(toys.PathOf("after")).Render(messages, new() { AddGenerationPrompt = true });
        File.WriteAllText(Path.Combine(folder, "chat_template.jinja"), "{% if add_generation_prompt %}{{ " + System.Text.Json.JsonSerializer.Serialize(template)
            + " }}{% else %}{% for m in messages %}{{ m.content }}{{ " + System.Text.Json.JsonSerializer.Serialize(ends) + " }}{% endfor %}{% endif %}");
        await using var studio = await StudioServer.StartAsync(toys.Options("ends-by-text"));
        var answer = (await Ask(studio, messages, messages, Greedy with { MaxNewTokens = 40 }))[1];
        int at = whole.IndexOf(ends.Trim(), StringComparison.Ordinal);
        Assert.Equal(whole[..at], answer.Text);
        Assert.InRange(answer.Result!.Tokens, 1, 39);
    }

    [Fact]
    public async Task A_conversation_that_is_too_long_loses_its_oldest_messages_and_says_so()
    {
        await using var studio = await StudioServer.StartAsync(toys.Options());
        string much = string.Concat(Enumerable.Repeat("Hello there, friend. ", 8));
        ChatMessage[] longer = [new("user", much), new("assistant", much), new("user", "Hello")], shorter = [longer[2]];
        var answers = await Ask(studio, longer, shorter);
        Assert.Equal((2, 0), (answers[0].Forgotten, answers[1].Forgotten));
        Assert.Equal((await Alone("before", shorter)).Text, answers[0].Text);
        // An answer asks for no more than half of the model, and a message that fills it alone is refused.
        Assert.All(await Ask(studio, shorter, shorter, Greedy with { MaxNewTokens = 512 }), a => Assert.InRange(a.Result!.Tokens, 1, 64));
        var refused = await Assert.ThrowsAsync<ChatTooLongException>(() => Ask(studio, [new("user", much + much)], shorter));
        Assert.Contains("the model reads at most 128", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Models_of_different_vocabularies_answer_without_shades()
    {
        await using var studio = await StudioServer.StartAsync(toys.Options("narrow"));
        ChatMessage[] messages = [new("user", "Hello")];
        var answers = await Ask(studio, messages, messages);
        Assert.Equal(((await Alone("before", messages)).Text, (await Alone("narrow", messages)).Text), (answers[0].Text, answers[1].Text));
        Assert.All(answers, a => Assert.All(a.Tokens, t => Assert.Null(t.LogRatio)));
        Assert.All(answers, a => Assert.Null(a.Result!.LogRatio));
    }

    [Fact]
    public async Task The_page_offers_chat_where_both_models_have_a_template_and_says_why_elsewhere()
    {
        await using (var studio = await StudioServer.StartAsync(toys.Options()))
        {
            string page = await Page(studio);
            Assert.Contains("id=\"message\"", page, StringComparison.Ordinal);
            Assert.DoesNotContain("why-no-chat", page, StringComparison.Ordinal);
        }
        await using (var studio = await StudioServer.StartAsync(toys.Options(before: "bare")))
        {
            Assert.Contains("Chat needs models with a chat template, and bare has none. Give one to models without: rlhf studio --chat-template chatml",
                await Page(studio), StringComparison.Ordinal);
            ChatMessage[] messages = [new("user", "Hello")];
            var refused = await Assert.ThrowsAsync<InvalidDataException>(() => Ask(studio, messages, messages));
            Assert.Equal("bare has no chat template. Give one to models without: rlhf studio --chat-template chatml", refused.Message);
        }
        // What the sentence says to do helps.
        await using (var studio = await StudioServer.StartAsync(toys.Options(before: "bare") with { ChatTemplate = "chatml" }))
        {
            Assert.DoesNotContain("why-no-chat", await Page(studio), StringComparison.Ordinal);
            ChatMessage[] messages = [new("system", "Be brief."), new("user", "Hello")];
            var answers = await Ask(studio, messages, messages);
            Assert.Equal((await Alone("before", messages)).Text, answers[0].Text); // Qwen's template, as ChatML writes it
        }
        await using (var studio = await StudioServer.StartAsync(toys.Options(before: "bare") with { ChatTemplate = toys.PathOf("texts.jinja") }))
            Assert.Contains("No chat: ", await Page(studio), StringComparison.Ordinal);
    }

    private static async Task<string> Page(StudioServer studio)
    {
        using var client = studio.Client();
        using var answer = await client.GetAsync(new Uri("/playground", UriKind.Relative), Stop);
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        return WebUtility.HtmlDecode(await answer.Content.ReadAsStringAsync(Stop));
    }
}
