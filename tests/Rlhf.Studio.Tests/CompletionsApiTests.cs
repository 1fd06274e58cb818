using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Tests;
using Rlhf.Tokenizers;
using TorchSharp;

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

    /// <summary>The form in which evaluation harnesses ask for the likelihood of texts; logprobs come from a forward pass of the library.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public async Task The_logprobs_of_a_prompt_are_those_of_the_model(int newTokens)
    {
        var tokenizer = AutoTokenizer.FromPretrained(Model);
        int[][] prompts = [tokenizer.Encode("This movie was really good"), tokenizer.Encode("I")];
        var (status, body) = await PostAsync(new { prompt = prompts, max_tokens = newTokens, temperature = 0, logprobs = 2, echo = true, seed = 1234 });
        Assert.Equal(HttpStatusCode.OK, status);
        using var model = AutoModelForCausalLM.FromPretrained(Model);
        for (int p = 0; p < prompts.Length; p++)
        {
            var logprobs = body.GetProperty("choices")[p].GetProperty("logprobs");
            var values = logprobs.GetProperty("token_logprobs").EnumerateArray().ToArray();
            Assert.Equal(prompts[p].Length + newTokens, values.Length);
            Assert.Equal(JsonValueKind.Null, values[0].ValueKind);
            Assert.Equal(JsonValueKind.Null, logprobs.GetProperty("top_logprobs")[0].ValueKind);
            Assert.Equal("This movie was really good".Split(' ').Length, prompts[0].Length);
            using var rows = PackedBatch.FromRows([prompts[p]]);
            using var expected = torch.nn.functional.log_softmax(model.Logits(model.Forward(rows)), -1);
            for (int t = 1; t < prompts[p].Length; t++)
            {
                Assert.Equal(expected[t - 1, prompts[p][t]].ToSingle(), values[t].GetSingle(), 1e-4f);
                Assert.Equal(expected[t - 1].max().ToSingle(),
                    logprobs.GetProperty("top_logprobs")[t].EnumerateObject().Max(token => token.Value.GetSingle()), 1e-4f);
            }
            string text = body.GetProperty("choices")[p].GetProperty("text").GetString()!;
            string[] tokens = [.. logprobs.GetProperty("tokens").EnumerateArray().Select(token => token.GetString()!)];
            Assert.Equal(text, string.Concat(tokens));
            Assert.Equal(tokens.Select((_, i) => tokens[..i].Sum(token => token.Length)),
                logprobs.GetProperty("text_offset").EnumerateArray().Select(offset => offset.GetInt32()));
        }
        Assert.Equal(2 * newTokens, body.GetProperty("usage").GetProperty("completion_tokens").GetInt32());
    }

    [Fact]
    public async Task Token_ids_are_continued_as_the_text_that_they_are()
    {
        int[] ids = AutoTokenizer.FromPretrained(Model).Encode("This movie was");
        var (_, ofIds) = await PostAsync(new { prompt = ids, max_tokens = 8, seed = 3, echo = true });
        var (_, ofText) = await PostAsync(new { prompt = "This movie was", max_tokens = 8, seed = 3, echo = true });
        Assert.Equal(ofText.GetProperty("choices")[0].GetProperty("text").GetString(), ofIds.GetProperty("choices")[0].GetProperty("text").GetString());
    }

    [Fact]
    public async Task Stop_texts_end_each_choice_of_a_batch_by_itself()
    {
        var request = new { prompt = new[] { "The film was", "I saw" }, n = 3, max_tokens = 30, seed = 4, stop = new[] { ".", " a" } };
        var (_, body) = await PostAsync(request);
        using var completer = TextCompleter.FromPretrained(Model);
        for (int i = 0; i < 6; i++)
        {
            var expected = await completer.CompleteAsync(request.prompt[i / 3],
                new() { Sampling = new() { MaxNewTokens = 30 }, Seed = 4 + i, Stop = request.stop }, Stop);
            Assert.Equal(expected.Text, body.GetProperty("choices")[i].GetProperty("text").GetString());
        }
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
    [InlineData("""{"model":"gpt-9","prompt":"x"}""", 404, "model", "The model 'gpt-9' is not here. There are: imdb-gpt2-tiny.")]
    [InlineData("""{"prompt":"x","logprobs":6}""", 400, "logprobs", "logprobs is 6; it must be from 0 to 5.")]
    [InlineData("""{"prompt":"x","logprobs":1,"stream":true}""", 400, "logprobs", "logprobs with stream is not supported; leave it out.")]
    [InlineData("""{"prompt":"x","temprature":1}""", 400, "temprature", "Unrecognized request argument supplied: temprature")]
    [InlineData("""{"prompt":"x","temperature":2.5}""", 400, "temperature", "temperature is 2.5; it must be from 0 (the most likely text) to 2.")]
    [InlineData("""{"prompt":"good \ud83d"}""", 400, "prompt", "prompt holds half of a surrogate pair, which is no character; send whole characters.")]
    [InlineData("""{"prompt":["a","\ude00"]}""", 400, "prompt", "prompt holds half of a surrogate pair, which is no character; send whole characters.")]
    [InlineData("""{"prompt":"x","stop":["\ud83d"]}""", 400, "stop", "stop holds half of a surrogate pair, which is no character; send whole characters.")]
    [InlineData("""{"prompt":"x","model":"\ud83d"}""", 400, "model", "model must be a text.")]
    [InlineData("""{"prompt":[1,"a"]}""", 400, "prompt", "prompt must be a text, a list of texts, a list of token ids, or a list of such lists.")]
    [InlineData("""{"prompt":[[1],[2.5]]}""", 400, "prompt", "prompt holds a list that is not all token ids; they are whole numbers from 0.")]
    [InlineData("""{"prompt":[99999]}""", 400, "prompt", "The prompt has the token id 99999, and the model's vocabulary has 8000 tokens.")]
    [InlineData("""{"prompt":[[]]}""", 400, "prompt", "The prompt has no token; give at least one.")]
    [InlineData("""{"prompt":"x","frequency_penalty":1,"suffix":"y"}""", 400, "suffix",
        "suffix is not supported; leave it out. frequency_penalty is not supported; leave it out.")]
    [InlineData("""{"prompt":"x","n":2,"best_of":3}""", 400, "best_of", "best_of other than n is not supported; leave it out.")]
    [InlineData("""{"prompt":[]}""", 400, "prompt", "prompt is an empty list; give a text, or leave it out for a text from nothing.")]
    [InlineData("""{"prompt":["x","y"],"n":40}""", 400, "prompt",
        "There are 2 prompts with n = 40; at most 64 texts can be asked for at once.")]
    [InlineData("""{"prompt":"x","max_tokens":500}""", 400, "prompt",
        "The prompt has 1 token and 500 more are asked for, but the model reads at most 128; shorten one of them.")]
    [InlineData("""{"prompt":"x","n":65}""", 400, "n", "n is 65; it must be from 1 to 64.")]
    [InlineData("""{"prompt":"x","n":2.5}""", 400, "n", "n must be a whole number.")]
    [InlineData("""{"prompt":"x","max_tokens":-1}""", 400, "max_tokens", "max_tokens is -1; it must be at least 0.")]
    [InlineData("""{"prompt":"x","max_tokens":"many"}""", 400, "max_tokens", "max_tokens must be a whole number.")]
    [InlineData("""{"prompt":"x","temperature":-1}""", 400, "temperature",
        "temperature is -1; it must be from 0 (the most likely text) to 2.")]
    [InlineData("""{"prompt":"x","temperature":null,"top_p":2}""", 400, "top_p", "top_p is 2; it must be above 0 and at most 1.")]
    [InlineData("""{"prompt":"x","repetition_penalty":0}""", 400, "repetition_penalty", "repetition_penalty is 0; it must be above 0.")]
    [InlineData("""{"prompt":"x","stop":{}}""", 400, "stop", "stop must be a text or a list of texts.")]
    [InlineData("""{"prompt":"x","stream":"yes"}""", 400, "stream", "stream must be true or false.")]
    [InlineData("""{"prompt":"x","stream_options":1}""", 400, "stream_options",
        """stream_options must be an object such as {"include_usage": true}.""")]
    [InlineData("""{"prompt":""", 400, null,
        """The body is no JSON object of such a request (line 1, byte 11); send one such as {"prompt": "This movie was"}.""")]
    [InlineData("[]", 400, null,
        """The body is no JSON object of such a request (line 1, byte 2); send one such as {"prompt": "This movie was"}.""")]
    [InlineData("null", 400, null,
        """The body is no JSON object of such a request; send one such as {"prompt": "This movie was"}.""")]
    public async Task What_cannot_be_done_is_an_error_that_names_the_field(string body, int status, string? field, string message)
    {
        using var answer = await client.PostAsync("/v1/completions",
            new StringContent(body, MediaTypeHeaderValue.Parse("application/json")), Stop);
        Assert.Equal(status, (int)answer.StatusCode);
        var error = await ErrorAsync(answer);
        Assert.Equal(message, error.GetProperty("message").GetString());
        Assert.Equal(field, error.GetProperty("param").GetString());
        Assert.Equal("invalid_request_error", error.GetProperty("type").GetString());
    }

    /// <summary>The error of an answer, in OpenAI's form: four fields, whatever is known.</summary>
    private static async Task<JsonElement> ErrorAsync(HttpResponseMessage answer)
    {
        Assert.Equal("application/json", answer.Content.Headers.ContentType?.MediaType);
        var error = (await answer.Content.ReadFromJsonAsync<JsonElement>(Stop)).GetProperty("error");
        Assert.Equal(["message", "type", "param", "code"], error.EnumerateObject().Select(p => p.Name));
        Assert.NotEqual("", error.GetProperty("message").GetString());
        return error;
    }

    [Theory]
    [InlineData("POST", "/v1/embeddings", 404, "unknown_url", "There is no POST /v1/embeddings. There are GET /v1/models, ")]
    [InlineData("GET", "/v1", 404, "unknown_url", "There is no GET /v1. ")]
    [InlineData("GET", "/v1/completions", 405, "method_not_supported", "/v1/completions takes POST, not GET.")]
    [InlineData("DELETE", "/v1/models/imdb-gpt2-tiny", 405, "method_not_supported", "/v1/models/imdb-gpt2-tiny takes GET, not DELETE.")]
    [InlineData("GET", "/v1/models/gpt-9", 404, "model_not_found", "The model 'gpt-9' is not here. There are: imdb-gpt2-tiny.")]
    public async Task Whatever_is_asked_for_below_v1_an_error_has_OpenAIs_form(string method, string path, int status, string code,
        string message)
    {
        foreach (var accepted in (string[])["application/json", "text/html"])
        {
            using var request = new HttpRequestMessage(new(method), path);
            request.Headers.Accept.ParseAdd(accepted);
            using var answer = await client.SendAsync(request, Stop);
            Assert.Equal(status, (int)answer.StatusCode);
            var error = await ErrorAsync(answer);
            Assert.StartsWith(message, error.GetProperty("message").GetString());
            Assert.Equal(("invalid_request_error", code), (error.GetProperty("type").GetString(), error.GetProperty("code").GetString()));
        }
    }

    [Fact]
    public async Task Every_listed_model_can_be_asked_for_by_its_name()
    {
        string run = StudioServer.MakeRun(runs.Path, "sweep/one%2Ftwo");
        StudioServer.MakeRun(runs.Path, "sweep/three");
        foreach (var folder in new[] { run, Path.Combine(runs.Path, "sweep", "three") })
            File.WriteAllText(Path.Combine(Directory.CreateDirectory(Path.Combine(folder, "model")).FullName, "config.json"), "{}");
        server.Service<Runs.RunCatalog>().Refresh();
        var list = await client.GetFromJsonAsync<JsonElement>("/v1/models", Stop);
        var models = list.GetProperty("data").EnumerateArray().ToArray();
        Assert.Equal(["imdb-gpt2-tiny", "sweep/one%2Ftwo", "sweep/three"],
            models.Select(m => m.GetProperty("id").GetString()).Order(StringComparer.Ordinal));
        foreach (var model in models)
        {
            string id = model.GetProperty("id").GetString()!;
            foreach (var name in new[] { Uri.EscapeDataString(id), string.Join('/', id.Split('/').Select(Uri.EscapeDataString)) })
                Assert.Equal(model.GetRawText(),
                    (await client.GetFromJsonAsync<JsonElement>($"/v1/models/{name}", Stop)).GetRawText());
        }
    }

    [Fact]
    public async Task Without_any_run_the_model_that_ships_writes_and_without_that_the_error_says_what_to_do()
    {
        using var empty = new Fixtures.TemporaryFolder();
        await using var fresh = await StudioServer.StartAsync(new() { RunsFolder = empty.Path, ShippedModel = Model });
        using var visitor = fresh.Client();
        var models = await visitor.GetFromJsonAsync<JsonElement>("/v1/models", Stop);
        Assert.Equal("imdb-gpt2-tiny", models.GetProperty("data")[0].GetProperty("id").GetString());
        using var written = await visitor.PostAsJsonAsync("/v1/completions", new { prompt = "x", max_tokens = 1 }, Stop);
        Assert.Equal("imdb-gpt2-tiny", (await written.Content.ReadFromJsonAsync<JsonElement>(Stop)).GetProperty("model").GetString());

        await using var bare = await StudioServer.StartAsync(new() { RunsFolder = empty.Path });
        using var other = bare.Client();
        Assert.Equal(0, (await other.GetFromJsonAsync<JsonElement>("/v1/models", Stop)).GetProperty("data").GetArrayLength());
        foreach (object body in new object[] { new { prompt = "x" }, new { prompt = "x", model = "mine" } })
        {
            using var answer = await other.PostAsJsonAsync("/v1/completions", body, Stop);
            Assert.Equal(HttpStatusCode.NotFound, answer.StatusCode);
            Assert.Equal("There is no model yet: train one with rlhf sft or rlhf ppo, or start the studio with --model.",
                (await ErrorAsync(answer)).GetProperty("message").GetString());
        }
    }

    [Fact]
    public async Task Pages_of_other_sites_and_clients_without_the_token_get_nothing()
    {
        using var foreign = new HttpRequestMessage(HttpMethod.Post, "/v1/completions")
        {
            Content = JsonContent.Create(new { prompt = "x" }),
        };
        foreign.Headers.Add("Origin", "http://elsewhere.example");
        using var refused = await client.SendAsync(foreign, Stop);
        Assert.Equal(HttpStatusCode.Forbidden, refused.StatusCode);
        Assert.Equal("request_forbidden", (await ErrorAsync(refused)).GetProperty("type").GetString());

        await using var locked =
            await StudioServer.StartAsync(new() { RunsFolder = runs.Path, Model = Model, Token = "correct-horse-battery" });
        using var visitor = locked.Client();
        using var unknown = await visitor.PostAsJsonAsync("/v1/completions", new { prompt = "x", max_tokens = 1 }, Stop);
        Assert.Equal(HttpStatusCode.Unauthorized, unknown.StatusCode);
        Assert.Equal("invalid_api_key", (await ErrorAsync(unknown)).GetProperty("code").GetString());
        visitor.DefaultRequestHeaders.Authorization = new("Bearer", "correct-horse-battery");
        Assert.Equal(HttpStatusCode.OK,
            (await visitor.PostAsJsonAsync("/v1/completions", new { prompt = "x", max_tokens = 1 }, Stop)).StatusCode);
    }
}
