using CsCheck;
using Microsoft.Extensions.AI;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Runtime;
using Rlhf.Tokenizers;

namespace Rlhf.Tests.Generation;

public sealed class TextCompleterTests : IDisposable
{
    private static readonly string Folder = Path.Combine(Fixtures.Repository(), "models", "imdb-gpt2-tiny");

    private readonly TextCompleter completer = TextCompleter.FromPretrained(Folder);

    public void Dispose() => completer.Dispose();

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private static CompletionOptions Options(long seed = 1, int tokens = 20, params string[] stop) =>
        new() { Sampling = new() { MaxNewTokens = tokens }, Seed = seed, Stop = stop };

    [Fact]
    public async Task Pieces_are_the_whole_text_and_that_of_the_generator()
    {
        var tokenizer = AutoTokenizer.FromPretrained(Folder);
        using var model = AutoModelForCausalLM.FromPretrained(Folder);
        var response = new TextGenerator(model).Generate([tokenizer.Encode("This movie was")], Options().Sampling, null,
            new RandomStream(1, "complete")).Responses[0];

        var pieces = await completer.StreamAsync("This movie was", Options(), Stop).ToListAsync(Stop);
        Assert.True(pieces.Count > 5);
        Assert.Equal(tokenizer.Decode(response, skipSpecialTokens: true), string.Concat(pieces.Select(p => p.Text)));
        Assert.Equal(response, pieces.SelectMany(p => p.TokenIds));
        Assert.Equal(pieces.Count - 1, pieces.FindIndex(p => p.Finish is not null));

        var whole = await completer.CompleteAsync("This movie was", Options(), Stop);
        Assert.Equal(string.Concat(pieces.Select(p => p.Text)), whole.Text);
        Assert.Equal((3, 20, FinishReason.Length), (whole.PromptTokens, whole.CompletionTokens, whole.Finish));
    }

    [Fact]
    public async Task A_stop_text_ends_it_and_is_no_part_of_it()
    {
        string text = (await completer.CompleteAsync("I think", Options(seed: 3, tokens: 30), Stop)).Text;
        string stop = text[10..13];
        var stopped = await completer.CompleteAsync("I think", Options(3, 30, "never in it", stop), Stop);
        Assert.Equal(FinishReason.Stop, stopped.Finish);
        Assert.Equal(text[..text.IndexOf(stop, StringComparison.Ordinal)], stopped.Text);
    }

    [Fact]
    public void What_is_certain_never_has_to_be_taken_back() =>
        Gen.Select(Gen.String[Gen.Char["ab\uFFFD"], 0, 12], Gen.String[Gen.Char["ab"], 0, 3].Array[0, 2]).Sample((text, stops) =>
        {
            var pending = new PendingText(stops);
            string given = "";
            bool stopped = false;
            for (int length = 1; length <= text.Length && !stopped; length++)
                given += pending.Add(text[..length], isWhole: length == text.Length, out stopped);
            int stop = stops.Where(s => s.Length > 0).Select(s => text.IndexOf(s, StringComparison.Ordinal)).Where(i => i >= 0)
                .DefaultIfEmpty(-1).Min();
            // Of stop texts that overlap, the one that is complete first ends the text.
            Assert.True(stopped == stop >= 0);
            Assert.StartsWith(given, text, StringComparison.Ordinal);
            if (!stopped)
                Assert.Equal(text, given);
            else
                Assert.All(stops.Where(s => s.Length > 0), s => Assert.DoesNotContain(s, given, StringComparison.Ordinal));
        });

    [Fact]
    public async Task Who_leaves_early_stops_the_writing_and_the_next_one_is_served()
    {
        await foreach (var piece in completer.StreamAsync("The film", Options(tokens: 100), Stop))
        {
            Assert.Null(piece.Finish);
            break;
        }
        var together = await Task.WhenAll(Enumerable.Range(0, 4).Select(i => completer.CompleteAsync("The film", Options(i), Stop)));
        for (int i = 0; i < 4; i++)
        {
            var alone = await completer.CompleteAsync("The film", Options(i), Stop);
            Assert.Equal((alone.Text, alone.Finish), (together[i].Text, together[i].Finish));
            Assert.Equal(alone.TokenIds, together[i].TokenIds);
        }
        using var cancelled = new CancellationTokenSource();
        await cancelled.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => completer.CompleteAsync("The film", Options(), cancelled.Token));
        await completer.CompleteAsync("", Options(), Stop); // from nothing
    }

    [Fact]
    public async Task What_does_not_fit_is_refused_before_writing()
    {
        var error = await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => completer.CompleteAsync("a b c", Options(tokens: 127), Stop));
        Assert.Contains("reads at most 128", error.Message);
        Assert.Throws<ConfigurationException>(() => completer.StreamAsync("a", Options(tokens: 0), Stop));
    }

    [Fact]
    public async Task It_is_a_chat_client()
    {
        using var model = AutoModelForCausalLM.FromPretrained(Folder);
        using IChatClient client = new LanguageModelChatClient(new TextCompleter(model, AutoTokenizer.FromPretrained(Folder)), "tiny");
        var options = new ChatOptions { Seed = 1, MaxOutputTokens = 20, StopSequences = ["never in it"] };
        var response = await client.GetResponseAsync("This movie was", options, Stop);
        string expected = (await completer.CompleteAsync("This movie was", Options(), Stop)).Text;
        Assert.Equal(expected, response.Text);
        Assert.Equal(("tiny", ChatFinishReason.Length, 23L),
            (response.ModelId, response.FinishReason!.Value, response.Usage!.TotalTokenCount!.Value));

        var updates = await client.GetStreamingResponseAsync("This movie was", options, Stop).ToListAsync(Stop);
        Assert.Equal(expected, updates.ToChatResponse().Text);
        Assert.Equal(ChatFinishReason.Length, updates[^1].FinishReason);

        options.Temperature = 0; // the most likely text, whatever the seed
        Assert.Equal((await client.GetResponseAsync("The", options, Stop)).Text,
            (await client.GetResponseAsync("The", new() { Temperature = 0, Seed = 9, MaxOutputTokens = 20 }, Stop)).Text);
        Assert.Equal("tiny", client.GetService<ChatClientMetadata>()!.DefaultModelId);
        Assert.Same(client, client.GetService<IChatClient>());
        await Assert.ThrowsAsync<NotSupportedException>(() => client.GetResponseAsync("x", new() { FrequencyPenalty = 1 }, Stop));
    }
}
