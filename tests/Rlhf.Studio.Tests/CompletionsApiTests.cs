using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using Rlhf.Generation;
using Rlhf.Tests;

namespace Rlhf.Studio.Tests;

/// <summary>The API in the form of OpenAI's, over real HTTP, with the model that ships.</summary>
public sealed class CompletionsApiTests : IAsyncLifetime
{
    private static readonly string Model = Path.Combine(Fixtures.Repository(), "models", "imdb-gpt2-tiny");
    private readonly Fixtures.TemporaryFolder runs = new();
    private StudioServer server = null!;
    private HttpClient client = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        server = await StudioServer.StartAsync(new() { RunsFolder = runs.Path, Model = Model });
        client = server.Client();
    }

    public async ValueTask DisposeAsync()
    {
        client.Dispose();
        await server.DisposeAsync();
        runs.Dispose();
    }

    private async Task<(HttpStatusCode Status, JsonElement Body)> PostAsync(object body)
    {
        using var answer = await client.PostAsJsonAsync("/v1/completions", body, Stop);
        return (answer.StatusCode, await answer.Content.ReadFromJsonAsync<JsonElement>(Stop));
    }

    [Fact]
    public async Task A_completion_is_that_of_the_model()
    {
        var models = await client.GetFromJsonAsync<JsonElement>("/v1/models", Stop);
        Assert.Equal("imdb-gpt2-tiny", models.GetProperty("data")[0].GetProperty("id").GetString());

        var (status, body) = await PostAsync(new
        {
            model = "imdb-gpt2-tiny",
            prompt = "This movie was",
            max_tokens = 12,
            seed = 5,
            n = 2,
            echo = true,
        });
        Assert.Equal(HttpStatusCode.OK, status);
        using var completer = TextCompleter.FromPretrained(Model);
        for (int i = 0; i < 2; i++)
        {
            var expected = await completer.CompleteAsync("This movie was",
                new() { Sampling = new() { MaxNewTokens = 12 }, Seed = 5 + i }, Stop);
            var choice = body.GetProperty("choices")[i];
            Assert.Equal("This movie was" + expected.Text, choice.GetProperty("text").GetString());
            Assert.Equal(i, choice.GetProperty("index").GetInt32());
            Assert.Equal("length", choice.GetProperty("finish_reason").GetString());
        }
        Assert.Equal("text_completion", body.GetProperty("object").GetString());
        Assert.Equal((3, 24, 27), (Usage("prompt_tokens"), Usage("completion_tokens"), Usage("total_tokens")));
        int Usage(string name) => body.GetProperty("usage").GetProperty(name).GetInt32();
    }

    [Fact]
    public async Task A_stream_is_the_same_text_in_pieces()
    {
        var request = new
        {
            prompt = new[] { "The film", "I" },
            max_tokens = 10,
            seed = 1,
            stream = true,
            stream_options = new { include_usage = true },
        };
        using var answer = await client.PostAsJsonAsync("/v1/completions", request, Stop);
        Assert.Equal("text/event-stream", answer.Content.Headers.ContentType!.MediaType);
        string[] events = (await answer.Content.ReadAsStringAsync(Stop)).Split("\n\n", StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal("data: [DONE]", events[^1]);
        var pieces = events[..^1].Select(e => JsonDocument.Parse(e["data: ".Length..]).RootElement).ToArray();
        var choices = pieces.SelectMany(p => p.GetProperty("choices").EnumerateArray()).ToArray();
        var (_, whole) = await PostAsync(new { request.prompt, request.max_tokens, request.seed });
        for (int i = 0; i < 2; i++)
            Assert.Equal(whole.GetProperty("choices")[i].GetProperty("text").GetString(), string.Concat(choices
                .Where(c => c.GetProperty("index").GetInt32() == i).Select(c => c.GetProperty("text").GetString())));
        Assert.Equal(20, pieces[^1].GetProperty("usage").GetProperty("completion_tokens").GetInt32());
    }

    [Theory]
    [InlineData("""{"model":"gpt-9","prompt":"x"}""", 404, "The model 'gpt-9' is not here. There are: imdb-gpt2-tiny.")]
    [InlineData("""{"prompt":"x","logprobs":2}""", 400, "logprobs is not supported")]
    [InlineData("""{"prompt":"x","frequency_penalty":1,"suffix":"y"}""", 400,
        "suffix is not supported; leave it out. frequency_penalty is")]
    [InlineData("""{"prompt":[1,2]}""", 400, "prompt must be a text or a list of texts.")]
    [InlineData("""{"prompt":"x","max_tokens":500}""", 400, "reads at most 128")]
    [InlineData("""{"prompt":"x","n":65}""", 400, "n is 65; it must be from 1 to 64.")]
    [InlineData("""{"prompt":"x","temperature":-1}""", 400, "temperature is -1")]
    [InlineData("""{"prompt":""", 400, "The body is no JSON object")]
    [InlineData("null", 400, "The body is no JSON object")]
    public async Task What_cannot_be_done_is_an_error_in_OpenAIs_form(string body, int status, string message)
    {
        using var answer = await client.PostAsync("/v1/completions",
            new StringContent(body, MediaTypeHeaderValue.Parse("application/json")), Stop);
        Assert.Equal(status, (int)answer.StatusCode);
        var error = (await answer.Content.ReadFromJsonAsync<JsonElement>(Stop)).GetProperty("error");
        Assert.Contains(message, error.GetProperty("message").GetString());
        Assert.Equal("invalid_request_error", error.GetProperty("type").GetString());
    }

    [Fact]
    public async Task Pages_of_other_sites_and_clients_without_the_token_get_nothing()
    {
        using var foreign = new HttpRequestMessage(HttpMethod.Post, "/v1/completions")
        {
            Content = JsonContent.Create(new { prompt = "x" }),
        };
        foreign.Headers.Add("Origin", "http://elsewhere.example");
        Assert.Equal(HttpStatusCode.Forbidden, (await client.SendAsync(foreign, Stop)).StatusCode);

        await using var locked =
            await StudioServer.StartAsync(new() { RunsFolder = runs.Path, Model = Model, Token = "correct-horse-battery" });
        using var visitor = locked.Client();
        Assert.Equal(HttpStatusCode.Unauthorized,
            (await visitor.PostAsJsonAsync("/v1/completions", new { prompt = "x", max_tokens = 1 }, Stop)).StatusCode);
        visitor.DefaultRequestHeaders.Authorization = new("Bearer", "correct-horse-battery");
        Assert.Equal(HttpStatusCode.OK,
            (await visitor.PostAsJsonAsync("/v1/completions", new { prompt = "x", max_tokens = 1 }, Stop)).StatusCode);
    }
}
