using System.ClientModel;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.AI;
using OpenAI;
using OpenAI.Chat;
using Rlhf.Generation;
using Rlhf.Serving;
using Rlhf.Tests;
using Rlhf.Tests.Cli;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Studio.Tests.Serving;

/// <summary>A server of models without the studio, asked by the clients that programs use, many at once.</summary>
public sealed class ServingTests : IAsyncLifetime
{
    private const string Key = "correct-horse-battery";
    private static readonly string Shipped = Path.Combine(Fixtures.Repository(), "models", "imdb-gpt2-tiny");
    private readonly Fixtures.TemporaryFolder folder = new();
    private readonly Gate gate = new();
    private ServingHost? host;
    private TextCompleter? served;
    private HttpClient http = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        gate.Open();
        http?.Dispose();
        if (host is not null)
        {
            await host.StopAsync(TimeSpan.FromMinutes(5));
            await host.DisposeAsync();
        }
        folder.Dispose();
    }

    private async Task StartAsync(string? model = null, ServingOptions? options = null, BatchingOptions? batching = null, bool gated = false)
    {
        var (models, metrics) = (new LoadedModels(), new ServingMetrics());
        served = TextCompleter.Load(model ?? Shipped, null, batching, gated ? gate : metrics.Of("served"));
        models.Add("served", served, ChatTemplate.TryFromFolder(model ?? Shipped));
        host = new ServingHost((options ?? new()) with { Port = 0 }, models, metrics);
        await host.StartAsync(Stop);
        // Who disposes an answer leaves, rather than reading the rest of it for the next request's sake.
        http = new(new SocketsHttpHandler { ResponseDrainTimeout = TimeSpan.Zero }) { BaseAddress = host.Address };
    }

    /// <summary>Lets the model choose one token for each permit.</summary>
    private sealed class Gate : IDecodingWatch
    {
        private readonly SemaphoreSlim permits = new(0);
        private volatile bool isOpen;

        public SemaphoreSlim Chosen { get; } = new(0);

        public void Let(int tokens) => permits.Release(tokens);

        public void Open()
        {
            isOpen = true;
            permits.Release();
        }

        public void FirstToken(int promptTokens, TimeSpan waited) => Wait();

        public void NextToken(TimeSpan took) => Wait();

        private void Wait()
        {
            Chosen.Release();
            if (!isOpen)
                permits.Wait();
        }
    }

    private Task<HttpResponseMessage> AskAsync(object body, bool streams = false) => http.SendAsync(
        new(HttpMethod.Post, "/v1/completions") { Content = JsonContent.Create(body) },
        streams ? HttpCompletionOption.ResponseHeadersRead : HttpCompletionOption.ResponseContentRead, Stop);

    private static async Task<JsonElement> ErrorAsync(HttpResponseMessage answer) =>
        (await answer.Content.ReadFromJsonAsync<JsonElement>(Stop)).GetProperty("error");

    private static async Task<List<JsonElement>> EventsAsync(HttpResponseMessage answer)
    {
        List<JsonElement> events = [];
        using var lines = new StreamReader(await answer.Content.ReadAsStreamAsync(Stop));
        while (await lines.ReadLineAsync(Stop) is { } line && line != "data: [DONE]")
            if (line.StartsWith("data: ", StringComparison.Ordinal))
                events.Add(JsonDocument.Parse(line[6..]).RootElement);
        return events;
    }

    /// <summary>A model folder chatty/ with a tokenizer, a template and random weights.</summary>
    private string Chatty()
    {
        File.WriteAllLines(Path.Combine(folder.Path, "texts.txt"), Enumerable.Range(0, 40).Select(i => $"Hello there, this is line {i} of the text."));
        RlhfCommand.Succeed(folder.Path, "tokenizer", "train", "--kind", "qwen2", "--dataset", "texts.txt", "--vocab-size", "300", "--output", "tokens");
        RlhfCommand.Succeed(folder.Path, "init", "--model-type", "qwen2", "--tokenizer", "tokens", "--layers", "1", "--hidden-size", "16",
            "--heads", "2", "--max-positions", "128", "--output", "chatty");
        return Path.Combine(folder.Path, "chatty");
    }

    [Fact]
    public async Task Many_clients_of_OpenAIs_and_Microsofts_packages_get_at_once_what_each_would_get_alone()
    {
        string model = Chatty();
        await StartAsync(model, new() { ApiKeys = ["another-key-of-mine", Key] }, new() { MaxRows = 5 });
        ChatClient client = new OpenAIClient(new ApiKeyCredential(Key), new() { Endpoint = new(host!.Address, "/v1") }).GetChatClient("served");
        using var local = ChatCompleter.FromPretrained(model);
        string[] expected = await Task.WhenAll(Enumerable.Range(0, 12).Select(async i => (await local.CompleteAsync(
            [new("user", $"Hello {i}")], new() { Seed = i, Sampling = new() { Temperature = 0.9 } }, 6 + i, cancellation: Stop)).Text));
        IChatClient ai = client.AsIChatClient();
        string[] answers = await Task.WhenAll(Enumerable.Range(0, 12).Select(async i =>
        {
            ChatOptions options = new() { Seed = i, MaxOutputTokens = 6 + i, Temperature = 0.9f };
            if (i % 3 == 0)
                return (await ai.GetResponseAsync($"Hello {i}", options, Stop)).Text;
            if (i % 3 == 1)
                return (await ai.GetStreamingResponseAsync($"Hello {i}", options, Stop).ToListAsync(Stop)).ToChatResponse().Text;
            ChatCompletionOptions plain = new() { MaxOutputTokenCount = 6 + i, Temperature = 0.9f };
#pragma warning disable OPENAI001 // Seed is marked as one to change
            plain.Seed = i;
#pragma warning restore OPENAI001
            ChatCompletion answer = await client.CompleteChatAsync([OpenAI.Chat.ChatMessage.CreateUserMessage($"Hello {i}")], plain, Stop);
            return answer.Content[0].Text;
        }));
        Assert.Equal(expected, answers);
        var models = await new OpenAIClient(new ApiKeyCredential(Key), new() { Endpoint = new(host.Address, "/v1") }).GetOpenAIModelClient().GetModelsAsync(Stop);
        Assert.Equal(["served"], models.Value.Select(m => m.Id));
        var refused = await Assert.ThrowsAsync<ClientResultException>(() => new OpenAIClient(new ApiKeyCredential("a-wrong-key-of-mine"),
            new() { Endpoint = new(host.Address, "/v1") }).GetChatClient("served").CompleteChatAsync(["Hello"], null, Stop));
        Assert.Equal(401, refused.Status);
        Assert.Contains("The API key is missing or wrong", refused.Message);
    }

    [Fact]
    public async Task Only_health_is_told_without_a_key()
    {
        await StartAsync(options: new() { ApiKeys = [Key] });
        Assert.Equal("""{"status":"ok"}""", await http.GetStringAsync("/health", Stop));
        foreach (string path in (string[])["/v1/models", "/metrics", "/else"])
        {
            using var answer = await http.GetAsync(path, Stop);
            Assert.Equal(HttpStatusCode.Unauthorized, answer.StatusCode);
            Assert.Equal("invalid_api_key", (await ErrorAsync(answer)).GetProperty("code").GetString());
        }
        http.DefaultRequestHeaders.Authorization = new("Bearer", Key);
        Assert.Equal(HttpStatusCode.OK, (await http.GetAsync("/v1/models", Stop)).StatusCode);
        using var nothing = await http.GetAsync("/else", Stop);
        Assert.Equal("unknown_url", (await ErrorAsync(nothing)).GetProperty("code").GetString());
    }

    [Fact]
    public async Task The_answers_of_a_stream_are_written_together_and_numbered()
    {
        await StartAsync();
        var body = new { prompt = "This movie was", n = 3, max_tokens = 12, seed = 9, stream = true, stream_options = new { include_usage = true } };
        using var answer = await AskAsync(body, streams: true);
        var events = await EventsAsync(answer);
        using var whole = await AskAsync(new { body.prompt, body.n, body.max_tokens, body.seed });
        var expected = (await whole.Content.ReadFromJsonAsync<JsonElement>(Stop)).GetProperty("choices");
        for (int i = 0; i < 3; i++)
        {
            var choices = events.SelectMany(e => e.GetProperty("choices").EnumerateArray()).Where(c => c.GetProperty("index").GetInt32() == i).ToArray();
            Assert.Equal(expected[i].GetProperty("text").GetString(), string.Concat(choices.Select(c => c.GetProperty("text").GetString())));
            Assert.Equal(expected[i].GetProperty("finish_reason").GetString(), choices[^1].GetProperty("finish_reason").GetString());
        }
        Assert.Equal(3, events[^1].GetProperty("usage").GetProperty("prompt_tokens").GetInt32());
    }

    [Fact]
    public async Task More_requests_than_may_wait_get_429_and_when_to_ask_again()
    {
        await StartAsync(batching: new() { MaxRows = 1, MaxWaiting = 1 }, gated: true);
        var first = AskAsync(new { prompt = "A", max_tokens = 2 });
        await gate.Chosen.WaitAsync(Stop);
        var second = AskAsync(new { prompt = "B", max_tokens = 2 });
        while (served!.Waiting == 0)
            await Task.Delay(1, Stop);
        foreach (bool stream in (bool[])[false, true])
        {
            using var refused = await AskAsync(new { prompt = "C", max_tokens = 2, stream });
            Assert.Equal(HttpStatusCode.TooManyRequests, refused.StatusCode);
            Assert.InRange(refused.Headers.RetryAfter!.Delta!.Value.TotalSeconds, 1, 60);
            var error = await ErrorAsync(refused);
            Assert.Equal("rate_limit_error", error.GetProperty("type").GetString());
            Assert.StartsWith("1 texts are being written and 1 are waiting", error.GetProperty("message").GetString());
        }
        gate.Open();
        Assert.Equal(HttpStatusCode.OK, (await first).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await second).StatusCode);
    }

    [Fact]
    public async Task What_is_beyond_the_limits_is_refused()
    {
        await StartAsync(options: new() { MaxBodyBytes = 2000, Limits = new() { MaxPromptTokens = 5, MaxNewTokens = 4 } });
        foreach (var (body, status, message) in ((object, HttpStatusCode, string)[])[
            (new { prompt = "a b c d e f g h i", max_tokens = 2 }, HttpStatusCode.BadRequest, "prompt has 9 tokens; this server reads at most 5."),
            (new { prompt = "a", max_tokens = 5 }, HttpStatusCode.BadRequest, "max_tokens is 5; this server writes at most 4 tokens of an answer."),
            (new { prompt = new string('a', 3000) }, HttpStatusCode.RequestEntityTooLarge, "Request body too large.")])
        {
            using var refused = await AskAsync(body);
            Assert.Equal(status, refused.StatusCode);
            Assert.StartsWith(message, (await ErrorAsync(refused)).GetProperty("message").GetString());
        }
        using var usual = await AskAsync(new { prompt = "a", seed = 1 });
        Assert.Equal(4, (await usual.Content.ReadFromJsonAsync<JsonElement>(Stop)).GetProperty("usage").GetProperty("completion_tokens").GetInt32());
        using var foreign = new HttpRequestMessage(HttpMethod.Get, "/v1/models") { Headers = { { "Origin", "http://elsewhere.example" } } };
        Assert.Equal(HttpStatusCode.Forbidden, (await http.SendAsync(foreign, Stop)).StatusCode);
    }

    /// <summary>Asking again would not help: the request is at fault, and no status says to wait.</summary>
    [Fact]
    public async Task More_texts_than_can_ever_wait_are_refused_for_good()
    {
        await StartAsync(batching: new() { MaxRows = 2, MaxWaiting = 3 });
        using var refused = await AskAsync(new { prompt = "a", max_tokens = 1, n = 6 });
        Assert.Equal(HttpStatusCode.BadRequest, refused.StatusCode);
        Assert.Null(refused.Headers.RetryAfter);
        var error = await ErrorAsync(refused);
        Assert.Equal("n asks for 6 texts, of all prompts together; this server takes at most 5 at a time.", error.GetProperty("message").GetString());
        using var served = await AskAsync(new { prompt = "a", max_tokens = 1, n = 5 });
        Assert.Equal(HttpStatusCode.OK, served.StatusCode);
        using var tooLong = await AskAsync(new { prompt = "a", max_tokens = 100_000 });
        Assert.Equal("context_length_exceeded", (await ErrorAsync(tooLong)).GetProperty("code").GetString());
    }

    [Fact]
    public async Task A_client_that_leaves_frees_its_row()
    {
        await StartAsync(gated: true);
        using (var begun = await StreamOfAsync(tokens: 3, max: 100))
        {
        }
        int more = 0;
        for (; served!.Running > 0; more++)
        {
            gate.Let(1);
            await Task.Delay(20, Stop);
        }
        Assert.InRange(more, 0, 90);
        gate.Open();
        using var next = await AskAsync(new { prompt = "A", max_tokens = 1 });
        Assert.Equal(HttpStatusCode.OK, next.StatusCode);
    }

    /// <summary>A stream whose first tokens were chosen, and which waits for more.</summary>
    private async Task<HttpResponseMessage> StreamOfAsync(int tokens, int max)
    {
        var begins = AskAsync(new { prompt = "This movie was", max_tokens = max, seed = 1, stream = true, logit_bias = new { } }, streams: true);
        for (int i = 0; i < tokens; i++)
        {
            await gate.Chosen.WaitAsync(Stop);
            gate.Let(1);
        }
        await gate.Chosen.WaitAsync(Stop);
        return await begins;
    }

    [Fact]
    public async Task A_server_that_ends_finishes_its_answers_and_takes_no_new_ones()
    {
        await StartAsync(gated: true);
        using var begun = await StreamOfAsync(tokens: 2, max: 30);
        var ending = Task.Run(() => host!.StopAsync(TimeSpan.FromMinutes(10)), Stop);
        HttpResponseMessage health;
        while ((health = await http.GetAsync("/health", Stop)).StatusCode == HttpStatusCode.OK)
            await Task.Delay(1, Stop);
        Assert.Equal("""{"status":"stopping"}""", await health.Content.ReadAsStringAsync(Stop));
        using (var refused = await AskAsync(new { prompt = "A" }))
        {
            Assert.Equal(HttpStatusCode.ServiceUnavailable, refused.StatusCode);
            Assert.Equal("server_stopping", (await ErrorAsync(refused)).GetProperty("code").GetString());
        }
        Assert.False(ending.IsCompleted);
        gate.Open();
        var events = await EventsAsync(begun);
        using var completer = TextCompleter.FromPretrained(Shipped);
        var expected = await completer.CompleteAsync("This movie was", new() { Sampling = new() { MaxNewTokens = 30 }, Seed = 1 }, Stop);
        Assert.Equal(expected.Text, string.Concat(events.Select(e => e.GetProperty("choices")[0].GetProperty("text").GetString())));
        await ending;
    }

    [Fact]
    public async Task What_is_not_finished_in_time_ends_with_an_error()
    {
        await StartAsync(gated: true);
        using var begun = await StreamOfAsync(tokens: 2, max: 100);
        var ending = Task.Run(() => host!.StopAsync(TimeSpan.Zero), Stop);
        var reading = EventsAsync(begun);
        for (int i = 0; !reading.IsCompleted; i++)
        {
            Assert.InRange(i, 0, 90);
            gate.Let(1);
            await Task.WhenAny(reading, Task.Delay(100, Stop));
        }
        Assert.Equal("server_stopping", (await reading)[^1].GetProperty("error").GetProperty("code").GetString());
        gate.Open();
        await ending;
    }

    [Fact]
    public async Task Metrics_count_what_happened()
    {
        await StartAsync();
        using (await AskAsync(new { prompt = "This movie was", max_tokens = 5, logprobs = 0, seed = 1, n = 2 }))
        using (await AskAsync(new { prompt = 3 }))
        using (await http.GetAsync("/v1/models", Stop))
        using (await http.GetAsync("/somewhere/else", Stop))
        {
        }
        using var answer = await http.GetAsync("/metrics", Stop);
        Assert.Equal("text/plain; version=0.0.4; charset=utf-8", answer.Content.Headers.ContentType!.ToString());
        string[] lines = (await answer.Content.ReadAsStringAsync(Stop)).Split('\n');
        foreach (string line in (string[])[
            "rlhf_requests_total{path=\"/v1/completions\",status=\"200\"} 1", "rlhf_requests_total{path=\"/v1/completions\",status=\"400\"} 1",
            "rlhf_requests_total{path=\"/v1/models\",status=\"200\"} 1", "rlhf_requests_total{path=\"other\",status=\"404\"} 1",
            "rlhf_prompt_tokens_total{model=\"served\"} 6", "rlhf_completion_tokens_total{model=\"served\"} 10",
            "rlhf_texts_running{model=\"served\"} 0", "rlhf_texts_waiting{model=\"served\"} 0",
            "rlhf_time_to_first_token_seconds_bucket{model=\"served\",le=\"+Inf\"} 2", "rlhf_time_to_first_token_seconds_count{model=\"served\"} 2",
            "rlhf_time_per_token_seconds_count{model=\"served\"} 8"])
            Assert.Contains(line, lines);
        // Every line is a comment or a sample, and buckets count up.
        Assert.All(lines[..^1], l => Assert.Matches(@"^(# (HELP|TYPE) \w+ .+|\w+\{.+\} [0-9.eE+-]+)$", l));
        long[] buckets = [.. lines.Where(l => l.StartsWith("rlhf_time_per_token_seconds_bucket", StringComparison.Ordinal)).Select(l => long.Parse(l.Split(' ')[1]))];
        Assert.Equal(buckets.Order(), buckets);
    }

    [Fact]
    public async Task The_command_serves_until_it_is_told_to_end()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "There is no SIGTERM on Windows.");
        using var serving = RlhfCommand.Start(folder.Path, new Dictionary<string, string> { ["RLHF_API_KEY"] = Key }, "serve", "--port", "0", "--json", "--max-new-tokens", "3");
        try
        {
            var text = new StringBuilder();
            while (serving.StandardOutput.ReadLine() is { } line && text.AppendLine(line) is not null && line != "}")
            {
            }
            var said = JsonDocument.Parse(text.ToString()).RootElement;
            Assert.Equal(("imdb-gpt2-tiny", true), (said.GetProperty("models")[0].GetString(), said.GetProperty("api_key").GetBoolean()));
            http = new() { BaseAddress = new(said.GetProperty("url").GetString()!) };
            http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", Key);
            using var answer = await AskAsync(new { prompt = "This movie was" });
            Assert.Equal(3, (await answer.Content.ReadFromJsonAsync<JsonElement>(Stop)).GetProperty("usage").GetProperty("completion_tokens").GetInt32());
            System.Diagnostics.Process.Start("kill", ["-TERM", $"{serving.Id}"]).WaitForExit();
            Assert.Equal(0, RlhfCommand.Finish(serving).ExitCode);
        }
        finally
        {
            if (!serving.HasExited)
                serving.Kill();
        }
    }

    [Theory]
    [InlineData("--api-key", "--host", "0.0.0.0")]
    [InlineData("at least 12", "--api-key", "short")]
    [InlineData("give each model one", "--name", "a", "--name", "b")]
    [InlineData("Several models are called", "--model", "imdb-gpt2-tiny", "--model", "imdb-gpt2-tiny")]
    [InlineData("nowhere", "--model", "nowhere/at/all")]
    public void What_cannot_be_served_is_said(string expected, params string[] flags)
    {
        var result = RlhfCommand.Run(folder.Path, ["serve", "--port", "0", .. flags]);
        Assert.Equal(2, result.ExitCode);
        Assert.Contains(expected, result.Error, StringComparison.OrdinalIgnoreCase);
    }
}
