using System.Text.Json.Nodes;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Models.Gpt2;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using static TorchSharp.torch;

namespace Rlhf.Tests.Generation;

/// <summary>Texts of several callers in one batch, which they join and leave at any time.</summary>
public sealed class DecodingEngineTests
{
    private static readonly string Shipped = Path.Combine(Fixtures.Repository(), "models", "imdb-gpt2-tiny");

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private static CausalLM Llama()
    {
        var model = AutoModelForCausalLM.FromConfig(ModelConfig.Of((JsonObject)JsonNode.Parse("""
            {"model_type": "llama", "vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 96, "initializer_range": 0.3, "eos_token_id": 7}
            """)!));
        model.Initialize(5);
        return model;
    }

    private static CausalLM Gpt2(int positions = 96)
    {
        var model = new Gpt2LMHeadModel(new Gpt2Config
        {
            VocabSize = 61,
            NPositions = positions,
            NEmbd = 32,
            NLayer = 2,
            NHead = 4,
            InitializerRange = 0.3,
            EosTokenId = 7,
        });
        model.Initialize(5);
        return model;
    }

    private static ResponseRow[] Rows(CausalLM model, int[] prompt, GenerationConfig config, long seed, int count = 1) =>
        new TextGenerator(model).Rows([.. Enumerable.Repeat(prompt, count)], config, row => new RandomStream(seed + row, "test").Fork(0));

    private static async Task<int[]> TokensAsync(DecodingTicket ticket)
    {
        List<int> ids = [];
        await foreach (var token in ticket.Tokens.ReadAllAsync(Stop))
            ids.Add(token.Score.Id);
        await ticket.Left;
        return [.. ids];
    }

    /// <summary>Lets the engine choose so many tokens, one for each permit, and notes which row got which.</summary>
    private sealed class Gate : IDecodingWatch, IDisposable
    {
        public SemaphoreSlim Permits { get; } = new(0);

        public SemaphoreSlim Chosen { get; } = new(0);

        public List<int> FirstPrompts { get; } = [];

        public void FirstToken(int promptTokens, TimeSpan waited)
        {
            FirstPrompts.Add(promptTokens);
            Wait();
        }

        public void NextToken(TimeSpan took) => Wait();

        public void Dispose()
        {
            Permits.Dispose();
            Chosen.Dispose();
        }

        private void Wait()
        {
            Chosen.Release();
            Permits.Wait(Stop);
        }
    }

    public static TheoryData<string> Families() => ["gpt2", "llama"];

    [Theory]
    [MemberData(nameof(Families))]
    public async Task A_text_is_the_same_beside_any_others(string family)
    {
        using var model = family == "gpt2" ? Gpt2() : Llama();
        // Settings, lengths and seeds of all kinds; more rows than places, so that rows join whenever others leave.
        var asked = Enumerable.Range(0, 40).Select(i => (
            Prompt: Enumerable.Range(0, 1 + i * 7 % 19).Select(t => (i * 31 + t * 17) % 61).ToArray(),
            Config: new GenerationConfig
            {
                DoSample = i % 3 > 0,
                Temperature = i % 4 == 1 ? 0.7 : 1,
                TopP = i % 5 == 2 ? 0.8 : 1,
                RepetitionPenalty = i % 6 == 3 ? 1.3 : 1,
                MaxNewTokens = 1 + i * 13 % 41,
                EosTokenId = i % 2 == 0 ? -1 : null,
            })).ToArray();
        using var engine = new DecodingEngine(model, new() { MaxRows = 7, PromptTokensPerStep = 24 });
        var tickets = asked.Select((a, i) => engine.Add(Rows(model, a.Prompt, a.Config, i))[0]).ToArray();
        for (int i = 0; i < tickets.Length; i++)
        {
            // The generator reads one prompt, alone, in a cache of its own.
            var alone = new TextGenerator(model).Generate([asked[i].Prompt], asked[i].Config, null, Root(i));
            Assert.Equal(alone.Responses[0], await TokensAsync(tickets[i]));
            Assert.All(alone.Logprobs[0].Zip(tickets[i].Row.Logprobs), l => Assert.InRange(l.First - l.Second, -1e-4, 1e-4));
        }
        Assert.Equal((0, 0), (engine.Running, engine.Waiting));

        static RandomStream Root(int seed) => new(seed, "test");
    }

    [Theory]
    [InlineData("phi3-longrope")]
    [InlineData("gemma2")]
    public async Task Texts_beyond_the_first_trainings_length_are_read_as_alone(string family)
    {
        using var model = AutoModelForCausalLM.FromPretrained(Fixtures.Path("families", family));
        using var engine = new DecodingEngine(model, new());
        // phi3-longrope turns to its long factors at 24 tokens.
        int[] lengths = [4, 40, 6, 22, 33, 5];
        var tickets = lengths.Select((n, i) => engine.Add(Rows(model, [5 + i, 6, 7], new() { MaxNewTokens = n, EosTokenId = -1 }, i))[0]).ToArray();
        for (int i = 0; i < tickets.Length; i++)
        {
            var alone = new TextGenerator(model).Generate(
                [[5 + i, 6, 7]], new() { MaxNewTokens = lengths[i], EosTokenId = -1 }, null, new RandomStream(i, "test"));
            Assert.Equal(alone.Responses[0], await TokensAsync(tickets[i]));
        }
    }

    [Fact]
    public async Task A_text_joins_while_another_is_being_written()
    {
        using var model = Gpt2();
        using var gate = new Gate();
        using var engine = new DecodingEngine(model, new(), gate);
        var greedy = new GenerationConfig { DoSample = false, EosTokenId = -1, MaxNewTokens = 20 };
        var first = engine.Add(Rows(model, [1, 2, 3], greedy, 0))[0];
        for (int i = 0; i < 5; i++)
        {
            await gate.Chosen.WaitAsync(Stop);
            if (i < 4)
                gate.Permits.Release();
        }
        // The engine waits in the first text's fifth token.
        var second = engine.Add(Rows(model, [4, 5], greedy with { MaxNewTokens = 2 }, 0))[0];
        gate.Permits.Release(1000);
        var tokens = await TokensAsync(second);
        Assert.Equal(2, tokens.Length);
        Assert.Equal([3, 2], gate.FirstPrompts);
        Assert.Equal(20, (await TokensAsync(first)).Length);
        // Two of the first text's steps were the second's as well, right after it had asked.
        Assert.Equal(new TextGenerator(model).Generate([[4, 5]], greedy with { MaxNewTokens = 2 }, null, new RandomStream(0, "x")).Responses[0], tokens);
    }

    [Fact]
    public async Task Who_leaves_frees_the_row_before_the_next_step()
    {
        using var model = Gpt2();
        using var gate = new Gate();
        using var engine = new DecodingEngine(model, new() { MaxRows = 1 }, gate);
        var config = new GenerationConfig { EosTokenId = -1, MaxNewTokens = 60 };
        var first = engine.Add(Rows(model, [1, 2, 3], config, 0))[0];
        var second = engine.Add(Rows(model, [4, 5], config with { MaxNewTokens = 1 }, 0))[0];
        var third = engine.Add(Rows(model, [6], config, 0))[0];
        await gate.Chosen.WaitAsync(Stop);
        Assert.Equal((1, 2), (engine.Running, engine.Waiting));
        first.Leave();
        third.Leave(); // has not begun
        // The first token after joining, and at most one that was being chosen.
        gate.Permits.Release(3);
        await first.Left;
        await second.Left;
        await third.Left;
        Assert.InRange(first.Row.ResponseLength, 1, 2);
        Assert.Equal(1, second.Row.ResponseLength);
        Assert.Equal(0, third.Row.ResponseLength);
        Assert.Equal((0, 0), (engine.Running, engine.Waiting));
    }

    [Fact]
    public async Task More_than_may_wait_are_refused_and_none_of_them_is_written()
    {
        using var model = Gpt2();
        using var gate = new Gate();
        using var engine = new DecodingEngine(model, new() { MaxRows = 2, MaxWaiting = 1 }, gate);
        var config = new GenerationConfig { EosTokenId = -1, MaxNewTokens = 3 };
        var running = engine.Add(Rows(model, [1, 2], config, 0, count: 2));
        await gate.Chosen.WaitAsync(Stop);
        var refused = Assert.Throws<TooManyWaitingException>(() => engine.Add(Rows(model, [3], config, 0, count: 2)));
        Assert.Equal("2 texts are being written and 0 are waiting; at most 2 are written and 1 wait at a time. Ask again later.", refused.Message);
        Assert.InRange(refused.RetryAfter.TotalSeconds, 1, 60);
        var waiting = engine.Add(Rows(model, [3], config, 0))[0];
        Assert.Throws<TooManyWaitingException>(() => engine.Add(Rows(model, [3], config, 0)));
        gate.Permits.Release(100);
        foreach (var ticket in running.Append(waiting))
            Assert.Equal(3, (await TokensAsync(ticket)).Length);
        Assert.Equal([2, 2, 1], gate.FirstPrompts);
    }

    [Theory]
    [InlineData(32, 1, 1)] // bytes for no row: one at a time all the same
    [InlineData(32, 3, 3)]
    [InlineData(2, 9, 2)]
    public async Task As_many_are_written_at_once_as_there_is_room_for(int maxRows, int rowsOfMemory, int expected)
    {
        using var model = Gpt2();
        // 2 layers, keys and values of 32 float32 numbers, 4 + 9 tokens of which the last is never kept.
        long row = 2 * 2 * 32 * sizeof(float) * 12;
        int most = 0;
        DecodingEngine? engine = null;
        using var watching = engine = new DecodingEngine(model, new() { MaxRows = maxRows, CacheBytes = rowsOfMemory * row },
            new Watch(() => most = Math.Max(most, engine!.Running)));
        var tickets = engine.Add(Rows(model, [1, 2, 3, 4], new() { EosTokenId = -1, MaxNewTokens = 9 }, 0, count: 8));
        foreach (var ticket in tickets)
            Assert.Equal(9, (await TokensAsync(ticket)).Length);
        Assert.Equal(expected, most);
    }

    private sealed class Watch(Action token) : IDecodingWatch
    {
        public void FirstToken(int promptTokens, TimeSpan waited) => token();

        public void NextToken(TimeSpan took) => token();
    }

    [Fact]
    public async Task A_row_that_fails_fails_alone()
    {
        using var model = Gpt2();
        using (no_grad())
            model.Parameters["transformer.wpe.weight"].select(0, 50).fill_(float.NaN);
        using var engine = new DecodingEngine(model, new());
        // The first reads the damaged position after two tokens, the second with its prompt, the third never.
        var config = new GenerationConfig { MaxNewTokens = 9, EosTokenId = -1 };
        int[] prompt = [.. Enumerable.Range(0, 49)];
        DecodingTicket[] tickets = [.. new[] { prompt, [.. prompt, 50, 51], [1, 2] }.Select(p => engine.Add(Rows(model, p, config, 0))[0])];
        var late = await Assert.ThrowsAsync<NonFiniteLogitsException>(() => TokensAsync(tickets[0]));
        Assert.Contains("Row 0, response token 2", late.Message);
        await Assert.ThrowsAsync<NonFiniteLogitsException>(() => TokensAsync(tickets[1]));
        Assert.Equal(9, (await TokensAsync(tickets[2])).Length);
        using var whole = Gpt2();
        using var other = new DecodingEngine(whole, new());
        config = new() { MaxNewTokens = 70, NoRepeatNgramSize = 1, EosTokenId = -1, DoSample = false };
        var impossible = other.Add(Rows(whole, [1, 2], config, 0))[0];
        var beside = other.Add(Rows(whole, [1, 2], config with { NoRepeatNgramSize = 0 }, 0))[0];
        var nothing = await Assert.ThrowsAsync<InvalidOperationException>(() => TokensAsync(impossible));
        Assert.Contains("response token 59: the generation settings forbid every token", nothing.Message);
        Assert.Equal(70, (await TokensAsync(beside)).Length);
    }

    [Fact]
    public async Task Nothing_is_left_behind_by_texts_that_end_and_texts_that_are_left()
    {
        using var model = Gpt2();
        using var engine = new DecodingEngine(model, new() { MaxRows = 5 });
        var config = new GenerationConfig { EosTokenId = -1, MaxNewTokens = 12 };
        await RoundAsync();
        TestSetup.CollectGarbage();
        long before = Tensor.TotalCount;
        for (int round = 0; round < 5; round++)
            await RoundAsync();
        TestSetup.CollectGarbage();
        Assert.Equal(before, Tensor.TotalCount);

        async Task RoundAsync()
        {
            var tickets = Enumerable.Range(0, 40).Select(i => engine.Add(Rows(model, [1 + i, 2, 3], config, i))[0]).ToArray();
            foreach (var ticket in tickets.Where((_, i) => i % 10 == 9))
            {
                await ticket.Tokens.ReadAsync(Stop);
                ticket.Leave();
            }
            await Task.WhenAll(tickets.Select(t => t.Left));
        }
    }

    [Fact]
    public async Task Who_ends_the_engine_ends_its_texts()
    {
        using var model = Gpt2();
        var engine = new DecodingEngine(model, new() { MaxRows = 1 });
        var config = new GenerationConfig { EosTokenId = -1, MaxNewTokens = 90 };
        var tickets = engine.Add(Rows(model, [1], config, 0, count: 30));
        engine.Dispose();
        await Task.WhenAll(tickets.Select(t => t.Left));
        await Assert.ThrowsAsync<ObjectDisposedException>(() => TokensAsync(tickets[^1]));
        Assert.Throws<ObjectDisposedException>(() => engine.Add(Rows(model, [1], config, 0)));
        await Assert.ThrowsAsync<ObjectDisposedException>(() => engine.RunAsync(() => 1));
    }

    [Fact]
    public void Options_that_cannot_be_are_refused()
    {
        using var model = Gpt2();
        var error = Assert.Throws<ConfigurationException>(() => new DecodingEngine(model, new() { MaxRows = 0, MaxWaiting = -1, CacheBytes = 0, PromptTokensPerStep = 0 }));
        Assert.Equal(4, error.Problems.Count);
    }

    [Fact]
    public void A_growing_text_is_that_of_all_its_tokens()
    {
        var tokenizer = AutoTokenizer.FromPretrained(Shipped);
        var random = new RandomStream(1, "test");
        int[] written = tokenizer.Encode(string.Concat(Enumerable.Repeat("A naïve 电影 film — “great” 🎬 acting, don't you think? ", 9)));
        int[] any = [.. Enumerable.Range(0, 400).Select(_ => random.NextInt32(0, 7999))];
        foreach (int[] ids in new[] { written, any })
        {
            var text = new GrowingText(tokenizer);
            for (int i = 0; i < ids.Length; i++)
                Assert.Equal(tokenizer.TextOfContinuation(ids[..(i + 1)]), text.Add(ids[i]));
        }
    }
}
