using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using Rlhf.Rewards;

namespace Rlhf.Tests.Rewards;

/// <summary>The HTTP reward against a service on the loopback interface.</summary>
public class HttpRewardTests
{
    private static readonly Completion[] Samples = [new("a \"quoted\" question", " näive answer 🙂"), new("b", "c")];

    [Fact]
    public void Texts_go_out_as_json_and_scores_come_back()
    {
        using var service = new Service((200, """{"scores":[0.5,-2],"model":"x"}"""));
        using var reward = new HttpReward(service.Address);

        Assert.Equal([0.5f, -2f], reward.Score(Samples));
        var sent = JsonNode.Parse(service.Requests.Single())!;
        Assert.Equal(Samples.Select(s => s.Query), sent["queries"]!.AsArray().Select(n => (string)n!));
        Assert.Equal(Samples.Select(s => s.Response), sent["responses"]!.AsArray().Select(n => (string)n!));
        Assert.Equal(Samples.Select(s => s.Text), sent["texts"]!.AsArray().Select(n => (string)n!));
        Assert.Empty(reward.Score([]));
    }

    [Theory]
    [InlineData(200, """{"scores":[1]}""", "1 scores for 2")]
    [InlineData(200, """{"scores":[1,2,3]}""", "3 scores for 2")]
    [InlineData(200, """{"scores":[1,1e999]}""", "sample 1")]
    [InlineData(200, """{"scores":[1,NaN]}""", "valid JSON")]
    [InlineData(200, """{"scores":[1,null]}""", "must answer")]
    [InlineData(200, """{"scores":["1","2"]}""", "must answer")]
    [InlineData(200, """{"score":[1,2]}""", "must answer")]
    [InlineData(200, "[1,2]", "must answer")]
    [InlineData(200, "hello", "valid JSON")]
    [InlineData(200, "", "valid JSON")]
    [InlineData(500, "it broke", "500 InternalServerError: it broke")]
    [InlineData(404, "", "404 NotFound")]
    [InlineData(302, "", "302")]
    public void Answers_that_cannot_be_used_are_refused(int status, string body, string named)
    {
        using var service = new Service((status, body));
        using var reward = new HttpReward(service.Address) { Name = "judge" };

        var failure = Assert.Throws<RewardException>(() => reward.Score(Samples));
        Assert.Contains(named, failure.Message);
        Assert.Contains("judge", failure.Message);
        Assert.Single(service.Requests);
    }

    [Fact]
    public void A_busy_service_is_asked_again()
    {
        using var service = new Service((503, "busy"), (429, "slow down"), (200, """{"scores":[1,2]}"""));
        using var reward = new HttpReward(service.Address) { RetryDelay = TimeSpan.FromMilliseconds(1) };
        Assert.Equal([1, 2], reward.Score(Samples));
        Assert.Equal(3, service.Requests.Count);
    }

    [Fact]
    public void A_service_that_stays_busy_is_given_up()
    {
        using var service = new Service((503, "busy"), (503, "busy"), (200, """{"scores":[1,2]}"""));
        using var reward = new HttpReward(service.Address) { RetryDelay = TimeSpan.FromMilliseconds(1), Attempts = 2 };
        Assert.Contains("503", Assert.Throws<RewardException>(() => reward.Score(Samples)).Message);
    }

    [Fact]
    public void A_service_that_does_not_answer_is_given_up()
    {
        using var service = new Service();
        using var reward = new HttpReward(service.Address) { Timeout = TimeSpan.FromMilliseconds(100) };
        Assert.Contains("within 0.1 s", Assert.Throws<RewardException>(() => reward.Score(Samples)).Message);
    }

    [Fact]
    public void Cancelling_ends_the_wait_for_an_answer()
    {
        using var stop = new CancellationTokenSource();
        using var service = new Service { Unanswered = stop.Cancel };
        using var reward = new HttpReward(service.Address) { Timeout = Timeout.InfiniteTimeSpan };
        Assert.ThrowsAny<OperationCanceledException>(() => reward.Score(Samples, stop.Token));
    }

    [Fact]
    public void Cancelling_ends_the_pause_before_another_attempt()
    {
        using var stop = new CancellationTokenSource();
        using var service = new Service((503, "busy")) { Answered = stop.Cancel };
        using var reward = new HttpReward(service.Address) { RetryDelay = TimeSpan.FromHours(1) };
        Assert.ThrowsAny<OperationCanceledException>(() => reward.Score(Samples, stop.Token));
    }

    [Fact]
    public void The_rows_other_columns_are_sent_where_there_are_any()
    {
        using var service = new Service((200, """{"scores":[1,2]}"""));
        using var reward = new HttpReward(service.Address);
        reward.Score([Samples[0] with { Fields = new Dictionary<string, object?> { ["answer"] = 42L } }, Samples[1]]);
        Assert.Contains("""fields":[{"answer":42},{}]""", service.Requests[0], StringComparison.Ordinal);
    }

    [Fact]
    public void A_service_that_is_not_there_is_named()
    {
        var address = new Uri($"http://127.0.0.1:{Service.FreePort()}/");
        using var reward = new HttpReward(address) { Attempts = 2, RetryDelay = TimeSpan.FromMilliseconds(1) };
        Assert.Contains("cannot be reached", Assert.Throws<RewardException>(() => reward.Score(Samples)).Message);
    }

    [Fact]
    public void An_endless_answer_is_cut_off()
    {
        using var service = new Service((200, new string(' ', 4 << 20)));
        using var reward = new HttpReward(service.Address);
        Assert.Contains("more than", Assert.Throws<RewardException>(() => reward.Score(Samples)).Message);
    }

    [Fact]
    public void Only_web_addresses_are_accepted() =>
        Assert.Contains("http://", Assert.Throws<ArgumentException>(() => new HttpReward(new Uri("file:///tmp/scores"))).Message);

    /// <summary>Gives the answers in order; when they are used up, no answer at all.</summary>
    private sealed class Service : IDisposable
    {
        private readonly HttpListener listener = new();

        public Service(params (int Status, string Body)[] answers)
        {
            Address = new Uri($"http://127.0.0.1:{FreePort()}/score");
            listener.Prefixes.Add(Address.GetLeftPart(UriPartial.Authority) + "/");
            listener.Start();
            _ = Task.Run(() => ServeAsync(answers));
        }

        public Uri Address { get; }

        public List<string> Requests { get; } = [];

        /// <summary>Called when an answer is out.</summary>
        public Action? Answered { get; init; }

        /// <summary>Called when a request has come that will have no answer.</summary>
        public Action? Unanswered { get; init; }

        public static int FreePort()
        {
            using var socket = new TcpListener(IPAddress.Loopback, 0);
            socket.Start();
            return ((IPEndPoint)socket.LocalEndpoint).Port;
        }

        public void Dispose() => listener.Close();

        private async Task ServeAsync((int Status, string Body)[] answers)
        {
            try
            {
                foreach (var (status, body) in answers)
                {
                    var context = await listener.GetContextAsync();
                    Requests.Add(await new StreamReader(context.Request.InputStream, Encoding.UTF8).ReadToEndAsync());
                    context.Response.StatusCode = status;
                    await context.Response.OutputStream.WriteAsync(Encoding.UTF8.GetBytes(body));
                    context.Response.Close();
                    Answered?.Invoke();
                }
                await listener.GetContextAsync();
                Unanswered?.Invoke();
            }
            catch (Exception e) when (e is HttpListenerException or ObjectDisposedException or IOException)
            {
                // The client hung up, or the test is over.
            }
        }
    }
}
