using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using System.Text.Json;
using Rlhf.Generation;
using Rlhf.Runtime.Native;
using Rlhf.Serving;
using static TorchSharp.torch;

namespace Rlhf.Benchmarks;

/// <summary>
/// A server on the loopback address and its clients, in this process: tokens per second of one client and of several at once, each streaming one answer
/// after another; and whether anything is left behind when clients leave in the middle.
/// </summary>
public static class ServingBenchmark
{
    private const string Usage = """
        serve MODEL [--clients 1,32] [--requests 64] [--tokens 96] [--rounds 3] [--leave 0]
          MODEL      a model folder
          --clients  numbers of clients at once, each measured in turn
          --requests requests of each measurement, at least one of each client
          --tokens   tokens of each answer
          --rounds   how often all of it is repeated; the median counts
          --leave    every so-manieth client leaves in the middle of an answer; live tensors and memory are shown after each measurement
        """;

    private static readonly string[] Prompts =
        ["This movie was", "I went to see it because", "The actors", "A film about", "When it came out,", "My friends said that", "In the end", "The plot"];

    /// <summary>Measures.</summary>
    public static async Task<int> RunAsync(string[] arguments)
    {
        if (arguments is not [var folder, .. var flags] || flags.Length % 2 != 0)
        {
            Console.Error.WriteLine(Usage);
            return 2;
        }
        var given = flags.Chunk(2).ToDictionary(f => f[0], f => f[1]);
        int Number(string flag, int otherwise) => given.TryGetValue(flag, out var text) ? int.Parse(text, CultureInfo.InvariantCulture) : otherwise;
        int[] clients = [.. (given.GetValueOrDefault("--clients") ?? "1,32").Split(',').Select(c => int.Parse(c, CultureInfo.InvariantCulture))];
        var (requests, tokens, rounds, leave) = (Number("--requests", 64), Number("--tokens", 96), Number("--rounds", 3), Number("--leave", 0));
        LibTorch.Initialize(null);
        var (models, metrics) = (new LoadedModels(), new ServingMetrics());
        models.Add("model", TextCompleter.Load(folder, null, new() { MaxWaiting = 1 << 20 }, metrics.Of("model")), null);
        await using var host = new ServingHost(new() { Port = 0 }, models, metrics);
        await host.StartAsync(default);
        using var http = new HttpClient(new SocketsHttpHandler { MaxConnectionsPerServer = 1024, ResponseDrainTimeout = TimeSpan.Zero }) { BaseAddress = host.Address };
        await MeasureAsync(http, 4, 8, 8, 0);
        var rates = clients.ToDictionary(c => c, _ => new List<double>());
        Console.WriteLine($"{folder}: {tokens} tokens an answer, {get_num_threads()} threads");
        for (int round = 0; round < rounds; round++)
            foreach (int count in clients)
            {
                var (written, left, seconds) = await MeasureAsync(http, count, Math.Max(requests, count), tokens, leave);
                rates[count].Add(written / seconds);
                await IdleAsync(models);
                GC.Collect();
                GC.WaitForPendingFinalizers();
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{count,4} clients  {written / seconds,8:F0} tokens/s")
                    + (leave == 0 ? "" : $"  {left} left, {CutOff(metrics, models)} cut off so far  {Tensor.TotalCount} live tensors  {Environment.WorkingSet >> 20} MiB  "
                        + $"{GC.GetTotalMemory(false) >> 10} KiB managed"));
            }
        foreach (int count in clients)
        {
            double median = rates[count].Order().ElementAt(rates[count].Count / 2), one = rates[clients[0]].Order().ElementAt(rounds / 2);
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"median of {count,4} clients  {median,8:F0} tokens/s  {median / one:F1}x"));
        }
        await host.StopAsync(TimeSpan.FromSeconds(5));
        return 0;
    }

    /// <summary>Some clients, each asking for one answer after another until all requests are made.</summary>
    private static async Task<(long Tokens, int Left, double Seconds)> MeasureAsync(HttpClient http, int clients, int requests, int tokens, int leave)
    {
        long written = 0;
        int next = -1, left = 0;
        var clock = Stopwatch.StartNew();
        await Task.WhenAll(Enumerable.Range(0, clients).Select(_ => Task.Run(async () =>
        {
            for (int i; (i = Interlocked.Increment(ref next)) < requests;)
            {
                bool leaves = leave > 0 && i % leave == leave - 1;
                Interlocked.Add(ref written, await AskAsync(http, i, tokens, leaves));
                if (leaves)
                    Interlocked.Increment(ref left);
            }
        })));
        return (written, left, clock.Elapsed.TotalSeconds);
    }

    private static async Task<int> AskAsync(HttpClient http, int number, int tokens, bool leaves)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/completions")
        {
            Content = JsonContent.Create(new
            {
                prompt = Prompts[number % Prompts.Length],
                max_tokens = tokens,
                seed = number,
                stream = true,
                stream_options = new { include_usage = true },
            }),
        };
        using var answer = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        answer.EnsureSuccessStatusCode();
        using var lines = new StreamReader(await answer.Content.ReadAsStreamAsync());
        int pieces = 0, written = 0;
        while (await lines.ReadLineAsync() is { } line && line != "data: [DONE]")
        {
            if (line.Length > 0 && ++pieces == 5 && leaves)
                return pieces;
            if (line.Contains("\"usage\":{", StringComparison.Ordinal))
                written = JsonDocument.Parse(line[6..]).RootElement.GetProperty("usage").GetProperty("completion_tokens").GetInt32();
        }
        return written;
    }

    /// <summary>Answers that the server did not finish, as their clients had left.</summary>
    private static string CutOff(ServingMetrics metrics, LoadedModels models) => metrics.Write(models.Completers).Split('\n')
        .FirstOrDefault(line => line.Contains("status=\"499\"", StringComparison.Ordinal))?.Split(' ')[1] ?? "0";

    private static async Task IdleAsync(LoadedModels models)
    {
        while (models.Completers.Values.Any(c => c.Running + c.Waiting > 0))
            await Task.Delay(1);
    }
}
