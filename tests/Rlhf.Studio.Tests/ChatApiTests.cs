using System.ClientModel;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using Microsoft.Extensions.AI;
using OpenAI;
using OpenAI.Chat;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Tests;
using Rlhf.Tests.Cli;
using Rlhf.Tokenizers;
using Rlhf.Tokenizers.Chat;
using Message = Rlhf.Tokenizers.Chat.ChatMessage;

namespace Rlhf.Studio.Tests;

/// <summary>Chats in the form of OpenAI's API, asked by the clients that programs use, with a small Qwen of random weights.</summary>
public sealed class ChatApiTests : IAsyncLifetime
{
    private readonly Fixtures.TemporaryFolder folder = new();
    private string model = null!;
    private StudioServer server = null!;
    private HttpClient http = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private static readonly Message[] Conversation = [new("system", "Be brief."), new("user", "Hello there")];

    public async ValueTask InitializeAsync()
    {
        model = MakeModel(folder.Path);
        server = await StudioServer.StartAsync(new() { RunsFolder = Path.Combine(folder.Path, "runs"), Model = model });
        http = server.Client();
    }

    public async ValueTask DisposeAsync()
    {
        http.Dispose();
        await server.DisposeAsync();
        folder.Dispose();
    }

    /// <summary>A model folder chatty/ with a tokenizer, a template and random weights.</summary>
    private static string MakeModel(string folder)
    {
        File.WriteAllLines(Path.Combine(folder, "texts.txt"), Enumerable.Range(0, 40).Select(i => $"Hello there, this is line {i} of the text."));
        RlhfCommand.Succeed(folder, "tokenizer", "train", "--kind", "qwen2", "--dataset", "texts.txt", "--vocab-size", "300", "--output", "tokens");
        RlhfCommand.Succeed(folder, "init", "--model-type", "qwen2", "--tokenizer", "tokens", "--layers", "1", "--hidden-size", "16",
            "--heads", "2", "--max-positions", "128", "--output", "chatty");
        return Path.Combine(folder, "chatty");
    }

    private ChatClient Client() => new OpenAIClient(new ApiKeyCredential("none"), new() { Endpoint = new(server.Address, "/v1") })
        .GetChatClient("chatty");

    /// <summary>What the library writes for the conversation: the template's text, encoded and continued, with its end of turn.</summary>
    private async Task<TextCompletion> Expected(long seed, int tokens, double temperature = 1)
    {
        using var completer = TextCompleter.FromPretrained(model);
        int end = completer.Tokenizer.TokenToId("<|im_end|>")!.Value;
        int[] ids = completer.Tokenizer.OfRendered(
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello there<|im_end|>\n<|im_start|>assistant\n");
        return await completer.CompleteAsync(ids, new()
        {
            Sampling = new() { MaxNewTokens = tokens, Temperature = temperature },
            Seed = seed,
            StopTokenIds = [end],
            TopLogprobs = 2,
        }, Stop);
    }

    [Fact]
    public async Task OpenAIs_client_gets_the_models_answer()
    {
        var expected = await Expected(seed: 7, tokens: 12, temperature: 0.5);
        ChatCompletionOptions options = new() { MaxOutputTokenCount = 12, Temperature = 0.5f, IncludeLogProbabilities = true, TopLogProbabilityCount = 2 };
#pragma warning disable OPENAI001 // Seed is marked as one to change
        options.Seed = 7;
#pragma warning restore OPENAI001
        ChatCompletion answer = await Client().CompleteChatAsync(
            [OpenAI.Chat.ChatMessage.CreateSystemMessage("Be brief."), OpenAI.Chat.ChatMessage.CreateUserMessage("Hello there")], options, Stop);
        Assert.Equal(expected.Text, answer.Content[0].Text);
        Assert.Equal(expected.Finish == FinishReason.Stop ? OpenAI.Chat.ChatFinishReason.Stop : OpenAI.Chat.ChatFinishReason.Length, answer.FinishReason);
        Assert.Equal((expected.PromptTokens, expected.CompletionTokens), (answer.Usage.InputTokenCount, answer.Usage.OutputTokenCount));
        Assert.Equal("chatty", answer.Model);
        // The logprobs are those of a forward pass over the whole text.
        using var completer = TextCompleter.FromPretrained(model);
        int[] prompt = completer.Tokenizer.OfRendered(ChatTemplate.FromFolder(model).Render(Conversation, new() { AddGenerationPrompt = true }));
        var scores = (await completer.ScoreAsync([[.. prompt, .. expected.TokenIds]], 2, Stop))[0].Skip(prompt.Length - 1)
            .Where(score => completer.Tokenizer.Decode([score.Id], skipSpecialTokens: true).Length > 0).ToArray();
        var given = answer.ContentTokenLogProbabilities;
        Assert.Equal(scores.Length, given.Count);
        Assert.NotEmpty(given);
        for (int i = 0; i < given.Count; i++)
        {
            Assert.Equal(scores[i].Logprob, given[i].LogProbability, 1e-3f);
            Assert.Equal(scores[i].Top.Select(t => t.Logprob), given[i].TopLogProbabilities.Select(t => t.LogProbability), (a, b) => Math.Abs(a - b) < 1e-3);
        }
    }

    [Fact]
    public async Task OpenAIs_client_gets_a_stream_of_the_same_answer()
    {
        var expected = await Expected(seed: 3, tokens: 20);
        ChatCompletionOptions options = new() { MaxOutputTokenCount = 20 };
#pragma warning disable OPENAI001
        options.Seed = 3;
#pragma warning restore OPENAI001
        var updates = await Client().CompleteChatStreamingAsync(
            [OpenAI.Chat.ChatMessage.CreateSystemMessage("Be brief."), OpenAI.Chat.ChatMessage.CreateUserMessage("Hello there")], options, Stop)
            .ToListAsync(Stop);
        Assert.Equal(expected.Text, string.Concat(updates.SelectMany(u => u.ContentUpdate).Select(c => c.Text)));
        Assert.Equal(ChatMessageRole.Assistant, updates[0].Role);
        Assert.Single(updates, u => u.FinishReason is not null);
        Assert.Equal(expected.CompletionTokens, updates[^1].Usage!.OutputTokenCount); // the client asks for it
    }

    [Fact]
    public async Task Microsofts_chat_client_gets_the_same_over_HTTP_and_in_the_process()
    {
        IChatClient remote = Client().AsIChatClient();
        using var local = new LanguageModelChatClient(ChatCompleter.FromPretrained(model), "chatty");
        Microsoft.Extensions.AI.ChatMessage[] messages = [new(ChatRole.System, "Be brief."), new(ChatRole.User, "Hello there")];
        ChatOptions options = new() { Seed = 5, MaxOutputTokens = 16, Temperature = 0.8f, StopSequences = ["zzz"] };
        string expected = (await Expected(5, 16, 0.8f)).Text;
        foreach (var client in (IChatClient[])[remote, local])
        {
            Assert.Equal(expected, (await client.GetResponseAsync(messages, options, Stop)).Text);
            var streamed = (await client.GetStreamingResponseAsync(messages, options, Stop).ToListAsync(Stop)).ToChatResponse();
            Assert.Equal(expected, streamed.Text);
            Assert.True(streamed.Usage!.OutputTokenCount > 0);
        }
        // Instructions are a system message, and what is not supported is refused, not passed over.
        var told = await local.GetResponseAsync([messages[1]], new() { Seed = 5, MaxOutputTokens = 16, Temperature = 0.8f, Instructions = "Be brief." }, Stop);
        Assert.Equal(expected, told.Text);
        await Assert.ThrowsAsync<NotSupportedException>(() => local.GetResponseAsync(
            [new(ChatRole.User, [new DataContent(new byte[] { 1 }, "image/png")])], null, Stop));
        options.Tools = [AIFunctionFactory.Create(() => 1, "one")];
        await Assert.ThrowsAsync<NotSupportedException>(() => local.GetResponseAsync(messages, options, Stop));
        var refused = await Assert.ThrowsAsync<ClientResultException>(() => remote.GetResponseAsync(messages, options, Stop));
        Assert.Contains("tools is not supported: models here call no tools; leave it out.", refused.Message);
    }

    [Fact]
    public async Task Each_of_n_answers_has_a_seed_of_its_own()
    {
        using var answer = await http.PostAsJsonAsync("/v1/chat/completions", new
        {
            messages = Conversation.Select(m => new { role = m.Role, content = new[] { new { type = "text", text = m.Text } } }),
            n = 3,
            max_tokens = 8,
            seed = 20,
        }, Stop);
        var body = await answer.Content.ReadFromJsonAsync<JsonElement>(Stop);
        for (int i = 0; i < 3; i++)
            Assert.Equal((await Expected(20 + i, 8)).Text,
                body.GetProperty("choices")[i].GetProperty("message").GetProperty("content").GetString());
        Assert.Equal("chat.completion", body.GetProperty("object").GetString());
    }

    [Fact]
    public async Task A_client_that_leaves_frees_the_model()
    {
        var request = new { messages = new[] { new { role = "user", content = "Hello" } }, n = 64, max_tokens = 90 };
        using var leaving = new CancellationTokenSource();
        var asked = http.PostAsJsonAsync("/v1/chat/completions", request, leaving.Token);
        await leaving.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => asked);
        using (var stream = new HttpRequestMessage(HttpMethod.Post, "/v1/chat/completions")
        {
            Content = JsonContent.Create(new { request.messages, max_tokens = 90, stream = true }),
        })
        using (var begun = await http.SendAsync(stream, HttpCompletionOption.ResponseHeadersRead, Stop))
            Assert.Equal("text/event-stream", begun.Content.Headers.ContentType!.MediaType); // and leaves in the middle
        using var next = await http.PostAsJsonAsync("/v1/chat/completions", new { request.messages, max_tokens = 1 }, Stop);
        Assert.Equal(HttpStatusCode.OK, next.StatusCode);
    }

    private const string User = """{"role":"user","content":"x"}""";

    [Theory]
    [InlineData("""{"messages":[]}""", "messages", "messages must be a list of at least one message, such as ")]
    [InlineData("""{}""", "messages", "messages must be a list of at least one message, such as ")]
    [InlineData("""{"messages":[{"role":"robot","content":"x"}]}""", "messages[0].role", "messages[0].role must be system, developer, user or assistant.")]
    [InlineData("""{"messages":[{"role":"user"}]}""", "messages[0].content", "messages[0].content is missing; it must be a text.")]
    [InlineData("""{"messages":[{"role":"user","content":"\ud83d"}]}""", "messages[0]", "messages[0] holds half of a surrogate pair")]
    [InlineData("""{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://x"}}]}]}""", "messages[0].content[0]",
        "messages[0].content[0] is of type image_url, which is not supported: models here read texts alone.")]
    [InlineData("""{"messages":[{"role":"tool","content":"1","tool_call_id":"a"}]}""", "messages[0].role", "messages[0].role is tool; models here call no tools")]
    [InlineData("""{"messages":[USER],"tools":[{"type":"function"}]}""", "tools", "tools is not supported: models here call no tools; leave it out.")]
    [InlineData("""{"messages":[USER],"functions":[{"name":"f"}]}""", "functions", "functions is not supported: models here call no tools; leave it out.")]
    [InlineData("""{"messages":[USER],"response_format":{"type":"json_object"}}""", "response_format",
        """response_format other than {"type": "text"} is not supported: no answer is promised to be JSON; leave it out.""")]
    [InlineData("""{"messages":[USER],"top_logprobs":2}""", "top_logprobs", "top_logprobs needs logprobs to be true.")]
    [InlineData("""{"messages":[USER],"max_tokens":0}""", "max_tokens", "max_tokens is 0; it must be at least 1.")]
    [InlineData("""{"messages":[USER],"max_tokens":1,"max_completion_tokens":2}""", "max_tokens", "max_tokens is 1 and max_completion_tokens is 2;")]
    [InlineData("""{"messages":[USER],"prompt":"x"}""", "prompt", "Unrecognized request argument supplied: prompt")]
    [InlineData("""{"messages":[USER],"logprobs":3}""", "logprobs", "logprobs must be true or false.")]
    [InlineData("""{"messages":[USER],"max_tokens":500}""", "messages", "The conversation has ")]
    [InlineData("[]", null, """The body is no JSON object of such a request (line 1, byte 2); send one such as {"messages": """)]
    public async Task What_cannot_be_done_is_an_error_that_names_the_field(string body, string? field, string message)
    {
        using var answer = await http.PostAsync("/v1/chat/completions",
            new StringContent(body.Replace("USER", User, StringComparison.Ordinal), MediaTypeHeaderValue.Parse("application/json")), Stop);
        Assert.Equal(HttpStatusCode.BadRequest, answer.StatusCode);
        var error = (await answer.Content.ReadFromJsonAsync<JsonElement>(Stop)).GetProperty("error");
        Assert.StartsWith(message, error.GetProperty("message").GetString());
        Assert.Equal(field, error.GetProperty("param").GetString());
        Assert.Equal("invalid_request_error", error.GetProperty("type").GetString());
    }

    [Fact]
    public async Task A_model_without_a_template_says_what_to_do_and_does_it_with_one()
    {
        string shipped = Path.Combine(Fixtures.Repository(), "models", "imdb-gpt2-tiny");
        var body = new { messages = new[] { new { role = "user", content = "Hello" } }, max_tokens = 2 };
        await using (var bare = await StudioServer.StartAsync(new() { RunsFolder = folder.Path, Model = shipped }))
        {
            using var visitor = bare.Client();
            using var refused = await visitor.PostAsJsonAsync("/v1/chat/completions", body, Stop);
            Assert.Equal(HttpStatusCode.BadRequest, refused.StatusCode);
            var error = (await refused.Content.ReadFromJsonAsync<JsonElement>(Stop)).GetProperty("error");
            Assert.Contains("--chat-template FILE, or --chat-template chatml", error.GetProperty("message").GetString());
            Assert.Equal("no_chat_template", error.GetProperty("code").GetString());
        }
        await using var helped = await StudioServer.StartAsync(new() { RunsFolder = folder.Path, Model = shipped, ChatTemplate = "chatml" });
        using var other = helped.Client();
        using var answered = await other.PostAsJsonAsync("/v1/chat/completions", body, Stop);
        Assert.Equal(HttpStatusCode.OK, answered.StatusCode);
    }
}
